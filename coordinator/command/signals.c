// How a command that trains hears that it shall end.
#include <signal.h>

#include "coordinator/command/command.h"
#include "coordinator/run/job.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = 1;
	job_interrupt();
}

void command_catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal}, before;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) // nohup
		sigaction(SIGHUP, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

bool command_is_interrupted(void)
{
	return interrupted != 0;
}
