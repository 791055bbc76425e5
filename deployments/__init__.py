"""Define the flows that a Prefect server schedules, with the settings as a form."""

from foliopress.flows.cluster.driver_memory import use_system_heap_for_arrow

use_system_heap_for_arrow()  # before anything here imports Arrow
