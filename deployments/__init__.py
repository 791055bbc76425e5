"""Deployments: the flows as a Prefect server schedules them, their settings as a form."""

from foliopress.flows.cluster.driver_memory import use_system_heap_for_arrow

use_system_heap_for_arrow()  # before anything here imports Arrow
