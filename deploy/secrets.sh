#!/bin/sh
# Make the secrets of a new installation, one file each, in deploy/secrets/ (or the folder named as $1).
#
# Nothing is replaced: run it again after deleting the one file that should change. PostgreSQL and RabbitMQ read theirs
# at their first start only; to change a password later, change it there as well (docs/deploy.md).
set -eu

folder=${1:-$(dirname "$0")/secrets}
database=${ALGASYNC_DATABASE:-postgresql:5432/algasync}
broker=${ALGASYNC_BROKER:-rabbitmq:5672}
umask 077
mkdir -p "$folder"

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
keep() { # keep NAME: standard input becomes the file, unless there is one
    if [ -e "$folder/$1" ]; then cat >/dev/null; else cat >"$folder/$1"; fi
    chmod 444 "$folder/$1" # read by containers under their own accounts; the folder itself is closed to others
}
value() { cat "$folder/$1"; }

for name in postgres_password migrator_password worker_password server_password broker_password grafana_password; do
    random | keep "$name"
done
# A Fernet key: 32 random bytes, base64 in its URL-safe alphabet.
head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' | keep secret_keys

keep 20-passwords.sql <<SQL
ALTER ROLE algasync_migrator PASSWORD '$(value migrator_password)';
ALTER ROLE algasync_worker PASSWORD '$(value worker_password)';
ALTER ROLE algasync_server PASSWORD '$(value server_password)';
SQL
printf 'postgresql://algasync_migrator:%s@%s' "$(value migrator_password)" "$database" | keep database_url_migrator
printf 'postgresql://algasync_worker:%s@%s' "$(value worker_password)" "$database" | keep database_url_worker
printf 'postgresql://algasync_server:%s@%s' "$(value server_password)" "$database" | keep database_url_server
printf 'amqp://algasync:%s@%s/' "$(value broker_password)" "$broker" | keep broker_url
keep rabbitmq_definitions.json <<JSON
{
  "users": [{ "name": "algasync", "password": "$(value broker_password)", "tags": ["monitoring"] }],
  "vhosts": [{ "name": "/" }],
  "permissions": [{ "user": "algasync", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*" }]
}
JSON
printf 'The secrets are in %s. Keep secret_keys safe: tokens in a backup cannot be read without it.\n' "$folder" >&2
