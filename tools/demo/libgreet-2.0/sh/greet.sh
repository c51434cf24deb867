# libgreet 2.0: greet --name NAME [--greeting WORD]
LIBGREET_VERSION=2.0.0
greet() {
  greet_name='' greet_word=Hello
  while [ $# -gt 0 ]; do
    case $1 in
      --name) greet_name=$2; shift 2 ;;
      --greeting) greet_word=$2; shift 2 ;;
      *) echo "libgreet 2: greet --name NAME, not: greet $*" >&2; return 2 ;;
    esac
  done
  [ -n "$greet_name" ] || { echo "libgreet 2: a name is wanted" >&2; return 2; }
  printf '%s, %s!\n' "$greet_word" "$greet_name"
}
