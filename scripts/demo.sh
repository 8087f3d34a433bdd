#!/usr/bin/env bash
# A daemon with stacks to play with, on this machine's engine and with no registry: what `make demo` runs after it
# made sure of an engine and built the binary. Everything is in one folder (DEMO, ./demo by default):
#   remote.git  the remote, a bare repository
#   clone       the daemon's clone
#   work        your working copy: commit and push there
# Ctrl-C removes the folder and what runs from it.
set -euo pipefail
cd "$(dirname "$0")/.."

demo=$(realpath -m "${DEMO:-demo}")
marker=$demo/.made-by-gitops-compose-demo
address=${HTTP_ADDRESS:-127.0.0.1:2112}
image=gitops-compose-demo:1

# Removes what runs from the demo's clone, and nothing else: compose writes the folder of a stack on its containers,
# and its networks and volumes have the names of the projects that were found by that.
remove() {
  local kind projects project
  projects=$(docker ps -a --format '{{.Label "com.docker.compose.project.working_dir"}} {{.Label "com.docker.compose.project"}}' |
    awk -v clone="$demo/clone/" 'index($0, clone) == 1 { print $NF }' | sort -u)
  for project in $projects; do
    docker ps -aq --filter "label=com.docker.compose.project=$project" | xargs -r docker rm -f >/dev/null
  done
  for project in $projects; do
    for kind in network volume; do
      docker "$kind" ls -q --filter "label=com.docker.compose.project=$project" | xargs -r docker "$kind" rm >/dev/null || true
    done
  done
  docker image rm "$image" >/dev/null 2>&1 || true
  rm -rf "$demo"
}

# An image with busybox and its commands: all that the stacks need.
make_image() {
  local root
  scripts/packages.sh busybox-static
  root=$demo/image
  mkdir -p "$root"/bin "$root"/tmp
  cp "$(command -v busybox)" "$root"/bin/busybox
  for applet in sh echo hostname httpd mkdir sleep; do ln -s busybox "$root/bin/$applet"; done
  tar -c -C "$root" . | docker import --change 'ENV PATH=/bin' - "$image" >/dev/null
  rm -r "$root"
}

# stack NAME: writes the compose file of a stack from standard input.
stack() {
  mkdir -p "$demo/work/$1"
  sed "s/IMAGE/$image/" >"$demo/work/$1/compose.yaml"
}

make_repository() {
  git init -q --bare -b main "$demo/remote.git"
  git clone -q "$demo/remote.git" "$demo/work" 2>/dev/null
  git -C "$demo/work" checkout -q -b main
  git -C "$demo/work" config user.name "GitopsCompose demo"
  git -C "$demo/work" config user.email demo@example.com

  # Its network is external to others, so it is started before them.
  stack demo-proxy <<'YAML'
services:
  proxy:
    image: IMAGE
    command: [sleep, "2147483647"]
    stop_grace_period: 1s
    networks: [edge]
networks:
  edge:
    name: demo-edge
YAML
  # Serves a folder of the repository: a change of the page recreates the container.
  stack demo-web <<'YAML'
services:
  web:
    image: IMAGE
    command: [httpd, -f, -p, "80", -h, /www]
    stop_grace_period: 1s
    ports: ["127.0.0.1:${PORT}:80"]
    volumes: ["./www:/www:ro"]
    networks: [edge]
networks:
  edge:
    name: demo-edge
    external: true
YAML
  echo "PORT=8080" >"$demo/work/demo-web/.env"
  mkdir "$demo/work/demo-web/www"
  echo "<h1>Hello from git</h1>" >"$demo/work/demo-web/www/index.html"
  # Two containers that tell their names.
  stack demo-whoami <<'YAML'
services:
  whoami:
    image: IMAGE
    command: [sh, -c, "mkdir /www && hostname >/www/index.html && exec httpd -f -p 80 -h /www"]
    stop_grace_period: 1s
    scale: 2
    networks: [edge]
networks:
  edge:
    name: demo-edge
    external: true
YAML
  # Its .env is encrypted; the daemon has the key.
  stack demo-secret <<'YAML'
services:
  secret:
    image: IMAGE
    command: [sh, -c, 'echo "the password has $${#PASSWORD} letters"; exec sleep 2147483647']
    environment:
      PASSWORD: ${PASSWORD}
    stop_grace_period: 1s
YAML
  (cd "$demo/work" && cp "$OLDPWD/scripts/demo/secret.env" demo-secret/.env)
  # Runs once and is done.
  stack demo-job <<'YAML'
services:
  migrate:
    image: IMAGE
    command: [echo, nothing to migrate]
YAML
  # Is in the repository, but not the daemon's business.
  stack demo-ignored <<'YAML'
services:
  app:
    image: IMAGE
    command: [sleep, "2147483647"]
    labels:
      gitops.ignore: "true"
YAML
  git -C "$demo/work" add .
  git -C "$demo/work" commit -q -m "Six stacks"
  git -C "$demo/work" push -q -u origin main
  git clone -q "$demo/remote.git" "$demo/clone"
}

introduce() {
  cat <<TEXT

The daemon looks at $demo/remote.git every 10 seconds and logs here what it does.

  every stack's state   http://$address/ (for programs: /api/v1/status)
  for Prometheus        http://$address/metrics
  demo-web's page       http://127.0.0.1:8080/
  as Compose sees it    docker compose ls (without Compose: docker ps)

Type in another terminal to see a change arrive:

  cd $demo/work
  echo '<h1>Changed</h1>' >demo-web/www/index.html && git commit -qam "Change the page" && git push -q
  cat demo-secret/.env && docker logs demo-secret-secret-1   # encrypted in git, in clear in the container
  git rm -qr demo-whoami && git commit -qm "Remove whoami" && git push -q
  curl -X POST http://$address/webhook   # now, not in 10 seconds
  docker rm -f demo-proxy-proxy-1   # it comes back

Ctrl-C stops the daemon and removes its stacks, their image and $demo.
The engine and the packages that were installed for it stay.

TEXT
}

if [[ -e $marker ]]; then
  remove # a demo that was killed
elif [[ -e $demo ]]; then
  echo "demo: $demo is there already and not from a demo: move it, or name another folder with DEMO=" >&2
  exit 1
fi

daemon=
stop() {
  trap '' INT TERM # a second Ctrl-C must not leave half of it behind
  if [[ -n $daemon ]] && kill -TERM "$daemon" 2>/dev/null; then wait "$daemon" || true; fi
  echo "demo: removing the stacks"
  remove
}
trap stop EXIT
trap 'exit 0' INT TERM

mkdir -p "$demo"
touch "$marker"
make_image
make_repository
introduce

SOPS_AGE_KEY_FILE=scripts/demo/age.txt REPOSITORY_PATH=$demo/clone REPOSITORY_BRANCH=main CHECK_INTERVAL_IN_SECONDS=10 HTTP_ADDRESS=$address \
  bin/gitops-compose &
daemon=$!
wait "$daemon"
