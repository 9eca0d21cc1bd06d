"""What a command may say about the broker without depending on it."""

from __future__ import annotations


def uncollected_letters() -> str | None:
    """A sentence when dead letters may still lie in the broker, where lists from SQL do not see them."""
    import amqp
    from kombu.exceptions import OperationalError

    from services.cli import wiring
    from workers import topology

    url = wiring.broker_url()
    if not url:
        return None
    try:
        with topology.connect(url) as connection:
            found = connection.default_channel.queue_declare(topology.QueueName.DEAD.versioned, passive=True)
    except amqp.NotFound:
        return None
    except (OperationalError, amqp.AMQPError, OSError) as error:
        return f"The broker does not answer ({type(error).__name__}): letters it still holds are not in this list."
    waiting = int(found.message_count)
    return f"Not in this list: {waiting} in the broker that wait for the collector." if waiting else None
