"""RabbitMQ's plugins, switched on and off in a node that runs."""

from __future__ import annotations

from consumer.local_broker.node import Node, ctl


def switch_plugins(node: Node, *names: str) -> None:
    """Have the node run the management console, these plugins and no others, as `rabbitmq-plugins set` would."""
    file = node.data_dir / "enabled_plugins"
    file.write_text(f"[{','.join(('rabbitmq_management', *names))}].\n")
    ctl(node, "eval", f'rabbit_plugins:ensure("{file}").')
