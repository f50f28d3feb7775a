"""The commands that need the page: options, refusals, and the demo from nothing to two matched networks."""

import pytest
from click.testing import CliRunner

import engine
from dashboard.server import make_server
from engine.cli import main
from engine.errors import SettingsError
from engine.world import ground_truth


def test_serving_other_machines_is_refused_unless_it_is_said():
    result = CliRunner().invoke(main, ["serve", "--address", "0.0.0.0", "--port", "0"])
    assert result.exit_code == 1
    assert "0.0.0.0 can be reached from other machines" in result.output
    assert "--allow-remote" in result.output


def test_a_port_that_there_is_not_is_refused():
    result = CliRunner().invoke(main, ["serve", "--port", "99999"])
    assert result.exit_code == 2
    assert "99999 is not in the range 0<=x<=65535" in result.output


def test_an_address_and_a_certificate_that_are_none_are_named(tmp_path):
    pem, serve = tmp_path / "one.pem", ["serve", "--store", str(tmp_path / "store"), "--port", "0"]
    pem.write_text("no certificate")
    tls = ["--certfile", str(pem), "--keyfile", str(pem)]
    unreadable = CliRunner().invoke(main, [*serve, *tls])
    assert unreadable.exit_code == 1
    assert f"{pem} and {pem} are no certificate with its key, in PEM" in unreadable.output
    with pytest.raises(SettingsError, match=r"'no\.such\.invalid' is no address of this machine"):
        make_server(
            tmp_path / "store", address="no.such.invalid", warm=False, allow_remote=True, behind_proxy=["https://a.org"]
        )


def test_matches_are_shared_out_in_one_way():
    result = CliRunner().invoke(main, ["serve", "--workers", "2", "--scheduler", "tcp://10.0.0.1:8786"])
    assert result.exit_code == 2
    assert "--scheduler uses those of a cluster: give one of them." in result.output


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_demo_matches_both_networks_and_finds_the_known_answer():
    result = CliRunner().invoke(main, ["demo", "--no-serve"])
    assert result.exit_code == 0, result.output
    assert result.output.count("builtin (SIMULATED sites)") == 2
    recording, run = engine.open_recording("builtin"), engine.open_run("squeezenet1_1@builtin")
    truth = ground_truth(recording, run)
    reliable = truth[truth["true_reliability"] > 0.9]
    assert len(reliable) >= 20
    assert reliable["found"].mean() >= 0.95
    assert "efficientnet_lite0" in set(engine.list_runs()["network"])
