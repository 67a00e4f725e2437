// How a command that trains hears that it shall end. A thread of its own waits for the signals, and all others hold them back: a handler
// would strike any of gRPC's threads, inside a library that is in the middle of something.
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "coordinator/command/command.h"
#include "coordinator/run/job.h"

enum { WAKE_MS = 200 };

static _Atomic(bool) interrupted;
static pthread_t main_thread;
static sigset_t awaited;

static void do_nothing(int number)
{
}

static void *await_signals(void *argument)
{
	static const struct timespec interval = {.tv_nsec = WAKE_MS * 1000000L};
	int number;
	pthread_setname_np(pthread_self(), "signals");
	while (sigwait(&awaited, &number) != 0)
		;
	atomic_store(&interrupted, true);
	job_interrupt();
	// What the main thread waits for in the system, such as the reader of a pipe, it shall wait for no more; again and again, for it may
	// begin to wait a moment later.
	for (;;) {
		pthread_kill(main_thread, SIGURG);
		sigtimedwait(&awaited, NULL, &interval); // further signals change nothing
	}
	return NULL;
}

void command_catch_signals(void)
{
	struct sigaction wake = {.sa_handler = do_nothing}, before;
	pthread_t thread;
	main_thread = pthread_self();
	sigaction(SIGURG, &wake, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&awaited);
	sigaddset(&awaited, SIGINT);
	sigaddset(&awaited, SIGTERM);
	if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) // nohup
		sigaddset(&awaited, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &awaited, NULL);
	if (pthread_create(&thread, NULL, await_signals, NULL) == 0)
		pthread_detach(thread);
	else // then they end the process as they find it, and the daemons notice
		pthread_sigmask(SIG_UNBLOCK, &awaited, NULL);
}

bool command_is_interrupted(void)
{
	return atomic_load(&interrupted);
}
