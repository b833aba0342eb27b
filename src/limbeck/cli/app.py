"""The commands, put together. Nothing here imports torch: `limbeck --help` answers at once."""

from __future__ import annotations

from typing import cast

import typer

from limbeck.cli.advise import advise
from limbeck.cli.analyze import analyze
from limbeck.cli.compare import compare
from limbeck.cli.copy import copy
from limbeck.cli.demo import demo
from limbeck.cli.ensemble import ensemble
from limbeck.cli.evaluate import evaluate
from limbeck.cli.list import list_names
from limbeck.cli.plan_memory import plan_memory
from limbeck.cli.show import show
from limbeck.cli.study import study
from limbeck.cli.teacher import teacher
from limbeck.cli.train import train
from limbeck.cli.tune import tune

# What every misuse of a command raises; typer itself gives it no public name.
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)

app = typer.Typer(
    help="Knowledge distillation for PyTorch, and an honest answer to whether it helped.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(train)
app.command()(evaluate)
app.command()(compare)
app.command()(ensemble)
app.command()(analyze)
app.command()(study)
app.command()(advise)
app.command()(tune)
app.command("list")(list_names)
app.command()(show)
app.command()(copy)
app.command()(plan_memory)
app.add_typer(teacher, name="teacher")
