"""The settings for RabbitMQ: its addresses, the login, and the names of queues."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from consumer.config.amqp_url import check_http_url, check_url, split_urls
from consumer.config.credentials import Credentials
from consumer.config.setting_group import SettingGroup, checked

#: `amq.` is RabbitMQ's own.
_PREFIX = re.compile(r"(?!amq\.)[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def _check_urls(urls: str) -> None:
    for url in split_urls(urls):
        check_url(url)


def _no_prefix(text: str) -> str | None:
    if _PREFIX.fullmatch(text):
        return None
    return "must be 1 to 100 letters, digits, `.`, `_` or `-`, begin with a letter or digit, and not with `amq.`"


class RabbitmqSettings(SettingGroup):
    """The connection to RabbitMQ."""

    amqp_url: Annotated[SecretStr, checked(_check_urls)] | None = Field(
        None,
        description="URL of RabbitMQ, amqp://user:password@host:5672/vhost or amqps://; for a cluster: the URLs "
        "of its nodes, with spaces between them; not set: a private RabbitMQ node",
    )
    amqp_password_file: Path | None = Field(
        None,
        description="file whose first line is the password of the user in amqp_url; read at each connection "
        "attempt",
    )
    amqp_ca_file: Path | None = Field(
        None,
        description="file of CA certificates (PEM) that verify RabbitMQ's certificate; not set: the system's CA "
        "certificates",
    )
    amqp_cert_file: Path | None = Field(
        None,
        description="file with the client certificate (PEM); with ?auth=EXTERNAL in amqp_url it is also the login",
    )
    amqp_key_file: Path | None = Field(
        None,
        description="file with the private key (PEM) of amqp_cert_file, without a passphrase; not set: the key is "
        "in amqp_cert_file",
    )
    management_url: Annotated[SecretStr, checked(check_http_url)] | None = Field(
        None,
        description="URL of RabbitMQ's management API, http://user:password@host:15672 or https://; default "
        "login: that of amqp_url; `check` and `status` query the API, and `run` compares consumers; not set: "
        "`check`, `status` and `run` report fewer facts",
    )
    prefix: Annotated[str, checked(_no_prefix)] = Field(
        "classifier",
        description="first part of the names of queues and metrics: 1 to 100 letters, digits, `.`, `_` or `-`",
    )
    declare: bool = Field(
        True,
        description="true: create missing queues and exchanges; false: only check that they exist",
    )

    @property
    def amqp_urls(self) -> tuple[str, ...]:
        """The URLs of RabbitMQ, or of the nodes of one cluster; empty for a private node."""
        return split_urls(self.amqp_url.get_secret_value()) if self.amqp_url else ()

    @property
    def credentials(self) -> Credentials:
        """The files that belong to the URLs."""
        return Credentials(self.amqp_ca_file, self.amqp_cert_file, self.amqp_key_file, self.amqp_password_file)

    @model_validator(mode="after")
    def _credentials_fit_the_urls(self) -> Self:
        if not self.amqp_urls and self.credentials != Credentials():
            raise ValueError(
                "amqp_url is not set, but a file for it is; set amqp_url, or remove the file's setting"
            )
        for url in self.amqp_urls:
            if complaint := self.credentials.complaint(url):
                raise ValueError(complaint)
        return self
