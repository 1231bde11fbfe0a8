"""Tables of the readers of a newsletter or the members of a site: people and their addresses, and not writing."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.data.ingest.container import Container, Entry, LeftOut
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import columns
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_ADDRESS = frozenset(["email", "email address", "email_address", "e-mail", "subscriber email"])
_OF_READERS_TEXT = """
active_subscription subscribed subscribed_to_emails subscribed_at subscription_date stripe_customer_id unsubscribed_at
optin_time optin_ip confirm_time complimentary_plan email_disabled first_payment_at member_rating leid euid expiry
utm_source utm_medium referrer_url acquisition_source subscription_premium_tier_names unsubscription_date tier
"""
_OF_READERS = frozenset(_OF_READERS_TEXT.split())


def _is_list(name: str, head: bytes) -> bool:
    found = columns(head)
    return bool(_ADDRESS & found) and bool(_OF_READERS & found)


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    yield LeftOut(reason="lists of readers, opens and deliveries (not writing) left out")


CONTAINER = Container(
    name="subscribers",
    title="a list of subscribers or members",
    taken="nothing: it is not writing",
    left_out="the names and addresses of readers (Substack, Ghost, Beehiiv, Buttondown, Mailchimp)",
    file=_is_list,
    suffixes=frozenset([".csv"]),
    entries=_entries,
)
