# BuildKit and the classic builder both read this: it uses nothing that only one of them knows.
# The builder is an argument so that a machine without a registry can bring its own, see scripts/image.sh.
ARG BUILDER_IMAGE=golang:1.26-bookworm

# The builder runs on the machine that builds and cross-compiles; only BuildKit sets BUILDPLATFORM and TARGET*,
# and without them Go builds for the machine it runs on.
FROM --platform=${BUILDPLATFORM:-linux} ${BUILDER_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ARG COMMIT=
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT" -o /image/gitops-compose ./cmd/gitops-compose
# All that the image has besides: a bundle of CAs for HTTPS, a /tmp that any user may write to, and /secrets, from which a
# new volume there takes its mode: on the host it lies where only root may look.
RUN mkdir -p /image/etc/ssl/certs \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && mkdir -m 1777 /image/tmp /image/secrets

FROM scratch
COPY --from=build /image/ /
ARG VERSION=dev
LABEL org.opencontainers.image.title="GitopsCompose" \
      org.opencontainers.image.description="GitOps continuous delivery for Docker Compose on one host" \
      org.opencontainers.image.source="https://github.com/korbiniankuhn/gitops-compose" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION"
# Whoever it runs as has no home here; what builds keep for a while goes where anybody may write.
ENV HOME=/tmp
EXPOSE 2112
# Alive, not ready: a remote that is down is no reason to restart the daemon. The first check of a large host takes its time.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["/gitops-compose", "healthcheck"]
# No USER: which one may write to the clone and use the socket is the host's to say (user: and group_add:).
ENTRYPOINT ["/gitops-compose"]
