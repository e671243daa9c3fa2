import pytest

from tests.services import service_absent


def test_an_absent_service_skips_on_a_laptop() -> None:
    with pytest.raises(pytest.skip.Exception, match="no mosquitto"):
        service_absent("no mosquitto", {})


def test_an_absent_service_fails_under_ci() -> None:
    with pytest.raises(pytest.fail.Exception, match="no mosquitto"):
        service_absent("no mosquitto", {"CI": "true"})
