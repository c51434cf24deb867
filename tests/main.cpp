// The one Catch2 main that every test program links, because compiling it takes longer than a suite.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
