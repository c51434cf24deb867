/* libgreet 1.4: a pointer into static storage, valid until the next call. */
#ifndef GREET_H
#define GREET_H
#define LIBGREET_VERSION "1.4.2"
const char *greet(const char *name);
#endif
