"""Deployments: the flows as a Prefect server schedules them, their settings as a form."""

from foliopress.flows.cluster.driver_memory import give_arrow_the_heap

give_arrow_the_heap()  # before anything here imports Arrow
