"""Names that people type: of commands, and of what a command is about. A misspelt one is told the nearest."""
import click

from ..names import nearest


class Commands(click.Group):
    """A group that lists its commands in the order in which they are defined, and knows which one a misspelt one should have been."""

    def list_commands(self, context):
        return list(self.commands)

    def resolve_command(self, context, arguments):
        name = arguments[0]
        if self.get_command(context, name) is None and not name.startswith("-"):
            context.fail(f"no command {name!r}{nearest(name, self.commands)} (there are {', '.join(self.commands)})")
        return super().resolve_command(context, arguments)


class Name(click.ParamType):
    """One of the names that names() gives, a function so that nothing is imported before the name is needed. `listing`: the command that lists them."""

    def __init__(self, kind, names, listing=None):
        self.name, self.names, self.listing = kind, names, listing or f"{kind}s"

    def convert(self, value, parameter, context):
        names = self.names()
        if value not in names:
            all_names = f"({', '.join(names)})" if len(names) < 8 else f"(`tinycnn {self.listing}` lists all of them)"
            self.fail(f"unknown {self.name} {value!r}{nearest(value, names)} {all_names}", parameter, context)
        return value

    def shell_complete(self, context, parameter, incomplete):
        from click.shell_completion import CompletionItem
        return [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]
