#include "greet.h"

#include <stdio.h>

const char *greet(greet_options options) {
  static char text[256];
  if (options.name == NULL || options.name[0] == '\0') return NULL;
  snprintf(text, sizeof text, "%s, %s!", options.greeting ? options.greeting : "Hello", options.name);
  return text;
}
