// See signals.h.
#include "stage_server/service/signals.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct signals {
	void (*heard)(int number, void *user);
	void *user;
	int descriptor;
	uv_poll_t poll;
};

static sigset_t ours(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	return set;
}

void signals_hold(void)
{
	sigset_t set = ours();
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct signals *signals = poll->data;
	struct signalfd_siginfo info;
	while (read(signals->descriptor, &info, sizeof(info)) == (ssize_t)sizeof(info))
		signals->heard((int)info.ssi_signo, signals->user);
}

bool signals_open(uv_loop_t *loop, void (*heard)(int number, void *user), void *user, struct signals **ret_signals,
		  struct error *error)
{
	sigset_t set = ours();
	struct signals *signals = calloc(1, sizeof(*signals));
	if (signals == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	signals->heard = heard;
	signals->user = user;
	signals->descriptor = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (signals->descriptor < 0) {
		free(signals);
		return error_set(error, ERROR_FAILED, "signalfd: %m");
	}
	uv_poll_init(loop, &signals->poll, signals->descriptor);
	signals->poll.data = signals;
	uv_poll_start(&signals->poll, UV_READABLE, on_readable);
	*ret_signals = signals;
	return true;
}

void signals_close(struct signals *signals)
{
	if (signals != NULL)
		uv_close((uv_handle_t *)&signals->poll, NULL);
}

void signals_destroy(struct signals *signals)
{
	if (signals == NULL)
		return;
	close(signals->descriptor);
	free(signals);
}
