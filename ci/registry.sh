# Read by ci/build, ci/build-own and ci/push-own, after they set $image: an image builder, and a login that ends with the script.
#   REGISTRY_INSECURE   not empty: the registry speaks HTTP
builder=$(command -v buildah || command -v docker) || { echo "neither buildah nor docker is here; MONOPOD_IMAGE must hold one" >&2; exit 1; }
keys=$(mktemp -d)
trap 'rm -rf "$keys"' EXIT
export REGISTRY_AUTH_FILE=$keys/config.json DOCKER_CONFIG=$keys
echo '{}' >"$keys/config.json"
insecure=()
if [[ $builder == */buildah && -n ${REGISTRY_INSECURE:-} ]]; then insecure=(--tls-verify=false); fi

# log_in USER PASSWORD; an empty USER is a registry that asks for none
log_in() {
  if [ -n "$1" ]; then "$builder" login "${insecure[@]}" --username "$1" --password-stdin "${image%%/*}" <<<"$2"; fi
}

# platform_image: prints the image that ci/build pushed for service.Dockerfile, by the digest that its tag has now
platform_image() {
  local digest
  digest=$(skopeo inspect ${REGISTRY_INSECURE:+--tls-verify=false} --format '{{.Digest}}' "docker://$image-platform")
  echo "${image%:*}@$digest"
}
