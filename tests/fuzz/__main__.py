"""The long run, `make fuzz`: every target in turn, for its share of the time; exit status 1 if anything failed.

python -m fuzz --minutes 30 --seed 7
python -m fuzz --targets "text.gz" --seed 1234 --tries 1       # one try again
"""

import argparse
import fnmatch
import time

import rich
import rich.table
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fuzz.harness import OUTCOMES, Account, Worker
from fuzz.registry import TARGETS

# Of each target, where the start of its worker process took all of its time: nothing tried is no success.
LEAST_TRIES = 5


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="for all targets together; default 30")
    parser.add_argument("--seed", type=int, default=0, help="of the first try of each target; default 0")
    parser.add_argument("--tries", type=int, help="of each target, whatever the time")
    parser.add_argument("--targets", nargs="+", default=["*"], metavar="PATTERN", help="names, * stands for anything")
    options = parser.parse_args(arguments)
    targets = [target for target in TARGETS if any(fnmatch.fnmatchcase(target.name, p) for p in options.targets)]
    if not targets:
        parser.error(f"no such target; there are {', '.join(target.name for target in TARGETS)}")
    accounts = run(targets, options.seed, options.minutes * 60, options.tries)
    rich.print(table(accounts))
    raise SystemExit(any(account.failures for account in accounts.values()))


def run(targets, seed, seconds, tries=None):
    """dict of name to `Account`."""
    accounts = {target.name: Account() for target in targets}
    start = time.monotonic()
    columns = [TextColumn("{task.description}", markup=False), BarColumn(bar_width=10), TimeElapsedColumn()]
    with Progress(*columns, TextColumn("{task.fields[counts]}", markup=False)) as progress:
        task = progress.add_task("", total=len(targets), counts="")
        for number, target in enumerate(targets):
            # What a target leaves of its share goes to those after it.
            deadline = time.monotonic() + (seconds - (time.monotonic() - start)) / (len(targets) - number)
            account = accounts[target.name]
            with Worker() as worker:
                outcome, detail = worker.attempt(target, None)
                if outcome != "successes":
                    account.add(None, "mismatches", f"the good input: {outcome}: {detail}")
                    progress.console.print(f"FAILED {target.name}: the good input: {detail}", markup=False)
                while account.tries < (tries or LEAST_TRIES) or not tries and time.monotonic() < deadline:
                    chosen = seed + account.tries
                    if account.add(chosen, *worker.attempt(target, chosen)):
                        _, outcome, detail = list(account.failures.values())[-1]
                        line = f"FAILED {target.name} --seed {chosen}: {outcome}: {detail}"
                        progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
                    progress.update(task, description=target.name, counts=in_words(accounts.values()))
            progress.update(task, advance=1)
    return accounts


def in_words(accounts):
    """One line on all accounts."""
    counts = {name: sum(account.counts[name] for account in accounts) for name in OUTCOMES}
    return f"{sum(account.tries for account in accounts):,} tries, " + ", ".join(
        f"{n:,} {name}" for name, n in counts.items()
    )


def table(accounts):
    """The closing table, a row a target."""
    result = rich.table.Table("target", "tries", *OUTCOMES)
    for column in result.columns[1:]:
        column.justify = "right"
    for name, account in accounts.items():
        counts = [f"{account.counts[outcome]:,}" for outcome in OUTCOMES]
        result.add_row(name, f"{account.tries:,}", *counts, style="red" if account.failures else None)
    totals = [sum(account.counts[outcome] for account in accounts.values()) for outcome in OUTCOMES]
    result.add_section()
    result.add_row("all", f"{sum(account.tries for account in accounts.values()):,}", *(f"{n:,}" for n in totals))
    return result


if __name__ == "__main__":
    main()
