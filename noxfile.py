"""Tasks for contributors: `pip install nox`, then `nox -s fast`, or `nox` for all of them."""

import nox

nox.options.sessions = ["lint", "tests", "docs"]
nox.options.reuse_existing_virtualenvs = True


@nox.session
def fast(session: nox.Session) -> None:
    """Run the tests that need neither a Ray cluster nor a browser, in two minutes."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-m", "not needs_ray and not browser", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=["3.10", "3.13"])
def versions(session: nox.Session) -> None:
    """Run the subset for the oldest Ray, and for the newest Python."""
    oldest = session.python == "3.10"
    rays = ["ray==2.49.*", "protobuf<7"] if oldest else ["ray[default]"]  # that Serve does not run with protobuf 7
    session.install("-e", ".[test]", *rays)
    session.run("python", "-m", "pytest", "-n", "0", "-m", "versions or rays" if oldest else "versions")


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff and mypy."""
    session.install("-e", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation's site in site/; a warning fails it."""
    session.install("-e", ".[docs]")
    session.run("mkdocs", "build")
