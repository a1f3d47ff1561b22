"""What the RFCs say, one section a module: pure functions of messages, rule and time."""
