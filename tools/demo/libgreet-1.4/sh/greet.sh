# libgreet 1.4: greet NAME
LIBGREET_VERSION=1.4.2
greet() {
  printf 'Hello, %s!\n' "$1"
}
