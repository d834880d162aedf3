"""What `amqp-consume` starts for each message: body on stdin, reply by `amqp-publish`, exit code 0 is the ack.

amqp-consume gives a program the body alone and amqp-publish cannot set a correlation id, so the address of the
reply and the job's id travel in the body.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from inside import URL_VARIABLE, resolve

envelope = json.load(sys.stdin)
answer = {"id": envelope["id"], "result": resolve()(envelope["job"])}
subprocess.run(
    [
        "amqp-publish",
        f"--url={os.environ[URL_VARIABLE]}",
        f"--routing-key={envelope['reply_to']}",
        f"--body={json.dumps(answer)}",
    ],
    check=True,
)
