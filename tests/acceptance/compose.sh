#!/bin/sh
# Starts deploy/compose.yaml as docs/deploy.md says, runs one job there, and removes all of it again, volumes too.
#
#   tests/acceptance/compose.sh .venv/bin      the folder of `consumer`
#
# Its project has a name of its own, so it never touches the volumes of a service that runs here. Its ports must be free.
set -eu
bin=$1

compose() {
    docker compose --project-name classifier-trial --file deploy/compose.yaml "$@"
}

remove() {
    code=$?
    [ $code -eq 0 ] || compose logs --tail 100
    compose --profile models down --volumes
    exit $code
}

trap remove EXIT
compose build
compose run --rm models
compose up --wait
echo '{"signal": [0, 1, 0, -1]}' |
    CONSUMER_AMQP_URL=amqp://producer:producer@127.0.0.1/classifier "$bin/consumer" submit -
