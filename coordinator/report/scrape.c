// See scrape.h.
#include "coordinator/report/scrape.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "common/http/http.h"

enum { TICK_MS = 1000 };

struct scrape {
	uv_loop_t loop;
	uv_async_t stop;
	uv_timer_t tick;
	struct http *http;
	pthread_t thread;
};

static void on_tick(uv_timer_t *timer)
{
	struct scrape *scrape = timer->data;
	http_tick(scrape->http);
}

static void on_stop(uv_async_t *async)
{
	struct scrape *scrape = async->data;
	http_stop(scrape->http); // with the last handle closed, the loop ends
	uv_close((uv_handle_t *)&scrape->tick, NULL);
	uv_close((uv_handle_t *)&scrape->stop, NULL);
}

static void *serve(void *user)
{
	struct scrape *scrape = user;
	uv_run(&scrape->loop, UV_RUN_DEFAULT);
	return NULL;
}

// Signals are the main thread's: a wait there shall end with them.
static int start_thread(struct scrape *scrape)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int status = pthread_create(&scrape->thread, NULL, serve, scrape);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return status;
}

static void close_loop(struct scrape *scrape)
{
	uv_run(&scrape->loop, UV_RUN_DEFAULT);
	http_destroy(scrape->http);
	uv_loop_close(&scrape->loop);
	free(scrape);
}

bool scrape_start(const char *address, struct metrics *metrics, struct scrape **ret_scrape, struct error *error)
{
	struct scrape *scrape = calloc(1, sizeof(*scrape));
	if (scrape == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	int status = uv_loop_init(&scrape->loop);
	if (status != 0) {
		free(scrape);
		return error_set(error, ERROR_FAILED, "start the metrics server's event loop: %s", uv_strerror(status));
	}
	struct http_options http = {.address = address, .metrics = metrics};
	if (!http_start(&scrape->loop, &http, &scrape->http, error)) {
		close_loop(scrape);
		return false;
	}
	uv_timer_init(&scrape->loop, &scrape->tick);
	uv_async_init(&scrape->loop, &scrape->stop, on_stop);
	scrape->tick.data = scrape->stop.data = scrape;
	uv_timer_start(&scrape->tick, on_tick, TICK_MS, TICK_MS);
	status = start_thread(scrape);
	if (status != 0) {
		on_stop(&scrape->stop);
		close_loop(scrape);
		return error_set(error, ERROR_FAILED, "start the metrics server's thread: %s", uv_strerror(-status));
	}
	*ret_scrape = scrape;
	return true;
}

int scrape_port(const struct scrape *scrape)
{
	return http_port(scrape->http);
}

void scrape_stop(struct scrape *scrape)
{
	if (scrape == NULL)
		return;
	uv_async_send(&scrape->stop);
	pthread_join(scrape->thread, NULL);
	close_loop(scrape);
}
