"""The first signal asks for an end between two steps, the second ends at once."""

from __future__ import annotations

import signal

import pytest

from coldstart_cli.processes.signals import StopOnSignal, Stopped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_signal_is_a_request(number: signal.Signals) -> None:
    with StopOnSignal() as stop:
        assert not stop.requested
        stop.check()
        signal.raise_signal(number)
        assert stop.requested
        with pytest.raises(Stopped) as caught:
            stop.check()
    assert caught.value.number == number
    assert str(caught.value) == number.name


def test_second_interrupt_ends_at_once() -> None:
    with StopOnSignal():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt) as caught:
            signal.raise_signal(signal.SIGINT)
    assert not isinstance(caught.value, Stopped)


def test_second_termination_is_still_a_request() -> None:
    with StopOnSignal() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested


def test_interrupt_after_a_termination_ends_at_once() -> None:
    with StopOnSignal():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_handlers_are_restored_even_after_an_error() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with pytest.raises(RuntimeError, match="inside"), StopOnSignal():
        assert [signal.getsignal(number) for number in numbers] != before
        raise RuntimeError("inside")
    assert [signal.getsignal(number) for number in numbers] == before


def test_stopped_passes_handlers_of_ordinary_errors() -> None:
    assert issubclass(Stopped, KeyboardInterrupt)
    assert not issubclass(Stopped, Exception)


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopOnSignal() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)
