"""nginx and Varnish in front of the counted page under uvicorn, as their manuals set them up.

One worker process, one pool of threads; both on the core of the server behind them, which idles.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from ..servers import MissingError

#: Subjects' names to programs, and the packages that have them.
_PROGRAMS: Final = {
    "nginx in front": ("nginx", "nginx"),
    "Varnish in front": ("varnishd", "varnish"),
}

# By default nginx closes a connection after 1,000 requests: no other server here does.
_NGINX: Final = """
{user}worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=pages:4m inactive=1h;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{behind};
            proxy_cache pages;
            proxy_cache_valid 200 1h;
        }}
        location /calls {{ proxy_pass http://127.0.0.1:{behind}; }}
    }}
}}
"""

# A request with cookies is passed on by default, and a browser always has some.
_VARNISH: Final = """
vcl 4.1;
backend app {{ .host = "127.0.0.1"; .port = "{behind}"; }}
sub vcl_recv {{
    if (req.url == "/calls") {{ return (pass); }}
    unset req.http.Cookie;
}}
"""


def line(name: str, port: int, behind: int, folder: Path) -> list[str]:
    """The command line of a proxy. Raises ``MissingError`` where it is not installed."""
    program, package = _PROGRAMS[name]
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        raise MissingError(f"not installed, run: sudo apt-get install {package}")
    own = folder / f"{package}-{port}"
    own.mkdir()
    make = _nginx if package == "nginx" else _varnish
    return [path, *make(own, port, behind)]


def _nginx(folder: Path, port: int, behind: int) -> list[str]:
    # Started as root, its worker would be nobody, who may not enter our folder.
    user = "user root;\n" if os.getuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(user=user, folder=folder, port=port, behind=behind), "utf-8")
    return ["-p", str(folder), "-c", str(file), "-g", "daemon off;"]


def _varnish(folder: Path, port: int, behind: int) -> list[str]:
    file = folder / "default.vcl"
    file.write_text(_VARNISH.format(behind=behind), "utf-8")
    return [
        *("-F", "-j", "none", "-n", str(folder / "work"), "-a", f"127.0.0.1:{port}"),
        *("-f", str(file), "-s", "malloc,64m", "-p", "thread_pools=1"),
    ]
