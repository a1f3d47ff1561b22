"""The promises of a store, one file for each kind; ``StoreContract`` is all of them."""
