"""The forum's pages. Each tells the standing of the threads on it, as ``#3 v41``."""

from __future__ import annotations

from contextvars import Context
from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_POST

from pagegen.contrib.django import page

from . import writing
from .models import Post, Thread

#: Posts on a page, threads on a list.
POSTS: Final = 3
THREADS: Final = 10
#: Threads that stand on the front page.
PICKED: Final = (1, 2, 3, 4)
#: Longer than any test: nothing here expires by itself.
LONG: Final = "1h"
NUMBER: Final = {"type": "int", "default": 1}
EVERYTHING: Final = ("threads", "posts", "flags")
THREAD: Final = ("thread:{thread}", "thread:{thread}/posts", "thread:{thread}/flags")


@page(
    share="public",
    ttl=LONG,
    namespaces=EVERYTHING,
    query={"start": {"type": "int", "default": 0}, "end": {"type": "int", "default": THREADS}},
)
def threads(request: HttpRequest) -> HttpResponse:
    """Some of all threads."""
    start, end = int(request.GET["start"]), int(request.GET["end"])
    found = Thread.objects.with_standing().order_by("pk")[start:end]
    return render(request, "forum/threads.html", {"threads": found})


@page(share="public", ttl=LONG, namespaces=["board:{board}", "posts", "flags"])
def board(request: HttpRequest, board: int) -> HttpResponse:
    """The threads of a board, which come and go."""
    found = Thread.objects.with_standing().filter(board=board).order_by("pk")
    return render(request, "forum/threads.html", {"threads": found})


@page(share="public", ttl=LONG, groups=True)
@transaction.non_atomic_requests
async def picks(request: HttpRequest) -> HttpResponse:
    """A few threads. Which namespaces it belongs to, its template finds out."""
    found = Thread.objects.with_standing().filter(pk__in=PICKED).order_by("pk")
    return render(request, "forum/picks.html", {"threads": [thread async for thread in found]})


@page(share="public", ttl=LONG, namespaces=THREAD, query={"page": NUMBER})
def thread(request: HttpRequest, thread: int) -> HttpResponse:
    """A thread and some of its posts."""
    found = get_object_or_404(Thread.objects.with_standing(), pk=thread)
    posts = Paginator(found.posts.order_by("pk"), POSTS).get_page(request.GET["page"])
    return render(request, "forum/thread.html", {"thread": found, "posts": posts})


@page(share=["visitor"], ttl=LONG, namespaces=THREAD, groups=True)
def mine(request: HttpRequest, thread: int) -> HttpResponse:
    """A thread as it looks to whom is logged in."""
    user: Any = request.user
    found = get_object_or_404(Thread.objects.with_standing(), pk=thread)
    shown = {
        "thread": found,
        "user": user,
        "likes": Thread.likes.through.objects.filter(thread=thread, user=user.pk).exists(),
        "posts": found.posts.filter(author=user.pk).order_by("pk"),
    }
    return render(request, "forum/mine.html", shown)


@page(share=["visitor"], ttl=LONG, namespaces=EVERYTHING, groups=True)
def me(request: HttpRequest) -> HttpResponse:
    """What somebody likes, and all there is."""
    user: Any = request.user
    shown = {
        "user": user,
        "posts": Post.objects.filter(author=user.pk).count(),
        "liked": Thread.objects.filter(likes=user.pk).order_by("pk"),
        "threads": Thread.objects.with_standing().order_by("pk"),
    }
    return render(request, "forum/me.html", shown)


@page(share="public", ttl=LONG, namespaces=THREAD)
def reply(request: HttpRequest, thread: int) -> HttpResponse:
    """A form, and what it posts."""
    found = get_object_or_404(Thread, pk=thread)
    if request.method != "POST":
        return render(request, "forum/reply.html", {"thread": found})
    if not request.user.is_authenticated:
        return HttpResponse("log in", status=403)
    with transaction.atomic():
        writing.reply(found, request.user, request.POST["text"])
    return HttpResponseRedirect(f"/threads/{thread}/")


@login_required
@require_POST
def write(request: HttpRequest, thread: int) -> HttpResponse:
    """Write something about a thread: ``version`` is the standing that it shall have then."""
    version = int(request.POST["version"])
    # Half of it as in a queue's job, where nothing is forgotten once more when the view has ended.
    context = Context() if version % 2 else None
    try:
        if context is not None:
            context.run(writing.write, thread, version, request.user)
        else:
            writing.write(thread, version, request.user)
    except writing.OutdatedError:
        return HttpResponse("somebody else has written", status=409)
    return HttpResponseRedirect(f"/threads/{thread}/")


@require_GET
def uncached(request: HttpRequest) -> HttpResponse:
    """Answered by whichever worker it is."""
    return HttpResponse("here")
