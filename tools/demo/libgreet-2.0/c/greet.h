/* libgreet 2.0: options by name. A pointer into static storage, valid until the next call; NULL without a name. */
#ifndef GREET_H
#define GREET_H
#define LIBGREET_VERSION "2.0.0"
typedef struct {
  const char *name;
  const char *greeting; /* "Hello" when NULL */
} greet_options;
const char *greet(greet_options options);
#endif
