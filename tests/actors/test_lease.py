"""For how long a worker may believe that it owns its slots."""

from actors.lease import LEASE_TRUSTED_S, LEASE_TTL_S, Lease


def test_a_new_lease_is_not_held() -> None:
    assert not Lease().held(0.0)


def test_a_lease_is_trusted_for_less_than_its_time_from_before_its_renewal() -> None:
    lease = Lease()
    lease.renewed(sent_at=10.0)

    assert lease.held(10.0 + LEASE_TRUSTED_S - 0.001)
    assert not lease.held(10.0 + LEASE_TRUSTED_S)
    assert LEASE_TRUSTED_S < LEASE_TTL_S


def test_a_renewal_that_was_sent_earlier_and_came_later_takes_nothing_back() -> None:
    lease = Lease()
    lease.renewed(sent_at=11.0)
    lease.renewed(sent_at=10.0)

    assert lease.held(11.0 + LEASE_TRUSTED_S - 0.001)


def test_a_lost_lease_is_held_again_after_a_renewal() -> None:
    lease = Lease()
    lease.renewed(sent_at=10.0)
    lease.lost()
    assert not lease.held(10.0)
    lease.renewed(sent_at=11.0)

    assert lease.held(11.0)


def test_others_are_judged_only_after_a_whole_lease_without_a_lapse() -> None:
    lease = Lease()
    for sent_at in (10.0, 11.0, 12.0):
        assert not lease.may_judge(sent_at)
        lease.renewed(sent_at)
    lease.renewed(13.0)
    assert lease.may_judge(13.0)

    lapsed_at = 13.0 + LEASE_TRUSTED_S
    lease.renewed(lapsed_at)
    assert not lease.may_judge(lapsed_at + 1.0)
