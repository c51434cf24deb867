#include <iostream>

#include "tools/muster/cli.hpp"

int main(int argc, char** argv) {
  auto io = muster::cli::process_io();
  const int code = muster::cli::run_cli({argv + 1, argv + argc}, io);
  std::cout.flush();
  return code;
}
