"""Worker processes and raylets as the kernel shows them."""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.ray.files import RAYLET_MODULE
from dsray_inspect.agent.compat.rows import Texts

PROCESS_TITLE: Annotated[
    str, Texts("How the title of a worker process begins.", files=(RAYLET_MODULE,))
] = "ray::"
SERVICE_TITLES: Annotated[
    tuple[str, ...],
    Texts("Titles of Ray's own services.", since="2.55", files=("ray/_private/ray_constants.py",)),
] = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
RAYLET_PROGRAM: Annotated[
    str, Texts("How a raylet's argv[0] ends.", files=("ray/_private/services.py",))
] = "/raylet"
NODE_ID_FLAG: Annotated[
    str, Texts("A raylet's argv names its node.", files=("ray/_private/services.py",))
] = "--node_id"
RAYLET_SOCKET_FLAG: Annotated[
    str, Texts("A raylet's argv names its socket.", files=("ray/_private/services.py",))
] = "--raylet_socket_name"
GCS_ADDRESS_FLAG: Annotated[
    str, Texts("A raylet's argv names its cluster.", files=("ray/_private/services.py",))
] = "--gcs-address"
LOG_FOLDER_FLAG: Annotated[
    str, Texts("A raylet's argv names the folder of its logs.", files=("ray/_private/services.py",))
] = "--log_dir"
