/* The floor: the least a hand-over from one thread to another costs on this machine, and so what a design is measured by.
 *
 * Two threads, both SCHED_FIFO 10 and on one CPU: waking another CPU costs many times more, so this is the fastest a
 * hand-over gets. The publisher writes one word and wakes the worker with futex(2); the worker calls the handler. No
 * queue, no allocation, no lock, and no spinning: spinning would measure a CPU that no daemon may have to itself.
 *
 * Built with -DPROCESSES (floor-shm) the worker is a process of its own: the least that a plugin in another process costs.
 *
 * Usage: floor DIRECTORY [in-round], with handler.so in it; in-round: an unmeasured hand-over a moment before each measured
 * one, as a daemon's self-test is. Speaks the protocol of src/protocol.rs. Apache-2.0. */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "../handler/slot.h"

#define PRIORITY 10
#define COUNT_MAX 1000000L

#ifdef PROCESSES
#include <signal.h>
#include <sys/prctl.h>
#define NAME "floor-shm"
#define NOTE "two processes, one futex in shared memory, one CPU"
#define PRIVATE 0
#else
#define NAME "floor"
#define NOTE "two threads, one futex, one CPU"
#define PRIVATE FUTEX_PRIVATE_FLAG
#endif

static void (*handler)(struct latency_slot *);
static int is_in_round; /* Hands over once beforehand, as `ours` does. */
static struct shared {
  struct latency_slot slot;
  uint32_t published; /* Counts events: the word that the worker sleeps on. */
} *shared;

static void *work(void *unused)
{
  uint32_t seen = 0;
  (void)unused;
  for (;;) {
    while (__atomic_load_n(&shared->published, __ATOMIC_ACQUIRE) == seen) {
      syscall(SYS_futex, &shared->published, FUTEX_WAIT | PRIVATE, seen, NULL, NULL, 0);
    }
    seen++;
    handler(&shared->slot);
  }
  return NULL;
}

/* Puts the calling thread, and the threads it starts, on one CPU and asks for real time. Whether it was granted. The
 * last CPU allowed, as the daemon chooses it: the others have more interrupts.
 * Pages are locked when those of the daemon would be: a floor that is paged out would be none, and under a limit the
 * worker's stack would be refused. */
static int settle(void)
{
  struct sched_param parameter = {.sched_priority = PRIORITY};
  struct rlimit limit;
  cpu_set_t all, one;
  int last = CPU_SETSIZE - 1;
  if (geteuid() == 0 || (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY)) {
    mlockall(MCL_CURRENT | MCL_FUTURE);
  }
  sched_getaffinity(0, sizeof all, &all);
  while (last > 0 && !CPU_ISSET(last, &all)) {
    last--;
  }
  CPU_ZERO(&one);
  CPU_SET(last, &one);
  sched_setaffinity(0, sizeof one, &one);
  return sched_setscheduler(0, SCHED_FIFO, &parameter) == 0;
}

/* Starts the worker. Whether it was. */
static int start_worker(void)
{
#ifdef PROCESSES
  pid_t worker = fork();
  if (worker == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    settle(); /* Locked pages are not inherited. */
    work(NULL);
  }
  return worker > 0;
#else
  pthread_t worker;
  return pthread_create(&worker, NULL, work, NULL) == 0;
#endif
}

static void hand_over(void)
{
  __atomic_store_n(&shared->published, shared->published + 1, __ATOMIC_RELEASE);
  syscall(SYS_futex, &shared->published, FUTEX_WAKE | PRIVATE, 1, NULL, NULL, 0);
  latency_wait(&shared->slot);
}

static int64_t one_event(long gap_us, unsigned char *ballast, size_t ballast_bytes)
{
  const struct timespec gap = {gap_us / 1000000, gap_us % 1000000 * 1000}, round_trip = {0, 250000};
  int64_t published_ns;
  nanosleep(&gap, NULL);
  if (is_in_round && ballast_bytes == 0) {
    hand_over();
    nanosleep(&round_trip, NULL);
  }
  for (size_t at = 0; at < ballast_bytes; at += 64) {
    ((volatile unsigned char *)ballast)[at]++;
  }
  published_ns = latency_now_ns();
  hand_over();
  return shared->slot.started_ns - published_ns;
}

static int answer(long count, long gap_us, long thrash_kib)
{
  size_t ballast_bytes = (size_t)thrash_kib * 1024;
  int64_t *took = calloc((size_t)count, sizeof *took);
  unsigned char *ballast = ballast_bytes > 0 ? malloc(ballast_bytes) : NULL;
  if (took == NULL || (ballast_bytes > 0 && ballast == NULL)) {
    return 0;
  }
  /* Touched beforehand, so that no event pays for a first page fault. */
  memset(took, 0, (size_t)count * sizeof *took);
  if (ballast != NULL) {
    memset(ballast, 1, ballast_bytes);
  }
  for (long n = 0; n < count; n++) {
    took[n] = one_event(gap_us, ballast, ballast_bytes);
  }
  for (long n = 0; n < count; n++) {
    printf("%s%lld", n == 0 ? "[" : ",", (long long)took[n]);
  }
  printf("]\n");
  free(ballast);
  free(took);
  return 1;
}

int main(int argc, char **argv)
{
  char line[256];
  long count, gap_us, thrash_kib;
  int granted;
  void *library;
  snprintf(line, sizeof line, "%s/handler.so", argc > 1 ? argv[1] : ".");
  library = dlopen(line, RTLD_NOW);
  handler = library == NULL ? NULL : (void (*)(struct latency_slot *))dlsym(library, "latency_handler");
  if (handler == NULL) {
    fprintf(stderr, "floor: %s\n", dlerror());
    return 1;
  }
  is_in_round = argc > 2 && strcmp(argv[2], "in-round") == 0;
  granted = settle();
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (shared == MAP_FAILED || !start_worker()) {
    return 1;
  }
  printf("ready {\"name\":\"%s%s\",\"granted\":\"%s\",\"note\":\"" NOTE "\"}\n", NAME,
         is_in_round ? "-in-round" : "", granted ? "SCHED_FIFO 10" : "normal");
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) != NULL && strcmp(line, "quit\n") != 0) {
    if (sscanf(line, "run %ld %ld %ld", &count, &gap_us, &thrash_kib) != 3 || count < 1 || count > COUNT_MAX ||
        gap_us < 0 || thrash_kib < 0 || !answer(count, gap_us, thrash_kib)) {
      fprintf(stderr, "floor: cannot do: %s", line);
      return 1;
    }
    fflush(stdout);
  }
  return 0;
}
