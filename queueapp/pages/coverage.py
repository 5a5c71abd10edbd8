"""Coverage: task names and values of attributes against workers and backlog."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse

from queueapp import addresses, coverage
from queueapp.domain.coverage import Cell, Row, Table
from queueapp.domain.names import is_storable
from queueapp.domain.supply import Covered
from queueapp.models import NAME_LENGTH
from queueapp.pages.page import framed, page
from queueapp.subjects import OVERVIEW


def urls(site: AdminSite) -> list[URLPattern]:
    def show(request: HttpRequest) -> HttpResponse:
        search = request.GET.get("name", "").strip()
        usable = len(search) <= NAME_LENGTH and is_storable(search)
        found = coverage.read(search if usable else "")
        return framed(
            site,
            request,
            "admin/pages/coverage.html",
            title="Coverage",
            search=search,
            found=found,
            table=_lines(found.table),
            routes=[_route(each) for each in found.routes],
            shadows=[(each, addresses.sandbox_of(each.example)) for each in found.shadows],
            missing=[
                (each, addresses.tasks_of(each.name, {each.criterion: each.value})) for each in found.missing
            ],
            unoffered=[(row, addresses.tasks_of(row.name)) for row in found.unoffered],
            unsubmitted=[(name, addresses.workers_of(name)) for name in found.unsubmitted],
        )

    return [page(site, "coverage/", show, name="coverage", permissions=OVERVIEW)]


def _lines(table: Table) -> list[tuple[Row, str, str, list[Cell | None]]]:
    """A row of the table with where its name leads to, and a cell for each column (None: it says nothing)."""
    address = reverse("admin:coverage")
    return [
        (
            row,
            addresses.with_query(address, name=row.name),
            addresses.tasks_of(row.name),
            [row.cells.get(column) for column in table.columns],
        )
        for row in table.rows
    ]


def _route(covered: Covered) -> tuple[Covered, str, str, str]:
    demand = covered.demand
    return (
        covered,
        addresses.attributes(demand),
        addresses.tasks_of(demand.name, demand.attrs),
        addresses.sandbox_of(demand),
    )
