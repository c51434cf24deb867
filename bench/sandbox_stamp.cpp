// What bench/sandbox runs inside: prints when its first instruction ran (CLOCK_MONOTONIC, ns), and
// ends. Static.
#include <stdio.h>
#include <time.h>

int main() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  printf("%lld\n", static_cast<long long>(now.tv_sec) * 1'000'000'000 + now.tv_nsec);
}
