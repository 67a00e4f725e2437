// grpc_init, the one completion queue, and the threads that empty it.
#include "common/rpc/internal.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/rpc/protocol.h"

static struct {
	grpc_completion_queue *queue;
	pthread_t *threads;
	uint32_t thread_count;
	pthread_mutex_t lock; // of what follows
	pthread_cond_t changed;
	uint32_t streams; // not yet over
} runtime = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

grpc_completion_queue *runtime_queue(void)
{
	return runtime.queue;
}

void runtime_count_stream(int change)
{
	pthread_mutex_lock(&runtime.lock);
	runtime.streams += (uint32_t)change;
	pthread_cond_broadcast(&runtime.changed);
	pthread_mutex_unlock(&runtime.lock);
}

static _Atomic(uint64_t) handed_over; // operations, so far

void runtime_hand_over(void)
{
	atomic_fetch_add_explicit(&handed_over, 1, memory_order_release);
}

// When each thread's callback began; 0: it waits for one. More threads than places are not watched.
enum { WATCHED_THREADS = 16 };
static _Atomic(uint64_t) callback_began_ns[WATCHED_THREADS];

uint64_t rpc_stuck_ns(void)
{
	uint64_t longest = 0, now = clock_now_ns();
	for (int i = 0; i < WATCHED_THREADS; i++) {
		uint64_t began = atomic_load_explicit(&callback_began_ns[i], memory_order_relaxed);
		if (began != 0 && now > began && now - began > longest)
			longest = now - began;
	}
	return longest;
}

// ---- How far the queue is behind

// A batch of nothing, of a call that goes nowhere, completes at once: what it waits for is the queue.
static struct {
	grpc_channel *channel;
	grpc_call *call;
	struct operation probe;
	_Atomic(uint64_t) sent_ns; // 0: it is back
	_Atomic(uint64_t) last_ns; // that it took
} lag;

static void probe_complete(struct operation *operation, bool ok)
{
	atomic_store(&lag.last_ns, clock_now_ns() - atomic_load(&lag.sent_ns));
	atomic_store(&lag.sent_ns, 0);
}

static void lag_begin(void)
{
	grpc_slice name = grpc_slice_from_static_string("/lag");
	lag.probe.complete = probe_complete;
	// Never destroyed: it keeps gRPC's event engine, whose destructor would run in whichever thread lets go last, one of its own perhaps, while
	// others of its threads still do what the last connections left them.
	if (lag.channel == NULL)
		lag.channel = grpc_lame_client_channel_create("lag", GRPC_STATUS_UNAVAILABLE, "nobody");
	lag.call = grpc_channel_create_call(lag.channel, NULL, GRPC_PROPAGATE_DEFAULTS, runtime.queue, name, NULL,
					    gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
}

uint64_t rpc_lag_ns(void)
{
	uint64_t now_ns = clock_now_ns(), sent_ns = atomic_load(&lag.sent_ns), last_ns = atomic_load(&lag.last_ns);
	if (sent_ns != 0)
		return now_ns - sent_ns > last_ns ? now_ns - sent_ns : last_ns;
	atomic_store(&lag.sent_ns, now_ns);
	runtime_hand_over();
	if (grpc_call_start_batch(lag.call, NULL, 0, &lag.probe, NULL) != GRPC_CALL_OK)
		atomic_store(&lag.sent_ns, 0);
	return last_ns;
}

static void *runtime_loop(void *argument)
{
	_Atomic(uint64_t) *began = argument;
	for (;;) {
		grpc_event event = grpc_completion_queue_next(runtime.queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
		if (event.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		struct operation *operation = event.tag;
		atomic_load_explicit(&handed_over, memory_order_acquire);
		if (began != NULL)
			atomic_store_explicit(began, clock_now_ns(), memory_order_relaxed);
		operation->complete(operation, event.success != 0);
		if (began != NULL)
			atomic_store_explicit(began, 0, memory_order_relaxed);
	}
}

// What gRPC logs, mostly what a peer did wrong: nothing of it is this program's error. GRPC_VERBOSITY says how much comes.
bool rpc_start(uint32_t threads, struct error *error)
{
	// Messages of megabytes are allocated by one thread and freed by another. In an arena per thread each takes pages that are new
	// to it; in one arena they are used again while still in the cache, and malloc_trim gives all that is free back.
	mallopt(M_ARENA_MAX, 1);
	// The system's resolver, which is done with a name that stands in /etc/hosts. gRPC's own also asks the name servers for its IPv6
	// address, and waits for them: seconds for each connection where none answers.
	setenv("GRPC_DNS_RESOLVER", "native", false);
	grpc_log_begin();
	grpc_init();
	runtime.queue = grpc_completion_queue_create_for_next(NULL);
	lag_begin();
	runtime.threads = calloc(threads, sizeof(*runtime.threads));
	runtime.thread_count = 0;
	while (runtime.threads != NULL && runtime.thread_count < threads) {
		uint32_t i = runtime.thread_count;
		if (pthread_create(&runtime.threads[i], NULL, runtime_loop,
				   i < WATCHED_THREADS ? (void *)&callback_began_ns[i] : NULL) != 0)
			break;
		runtime.thread_count++;
	}
	if (runtime.thread_count > 0) // fewer than asked for is slower, not wrong
		return true;
	rpc_stop();
	return error_set(error, ERROR_FAILED, "cannot start a network thread");
}

void rpc_stop(void)
{
	if (runtime.queue == NULL)
		return;
	// gRPC aborts when an operation meets a queue that was shut down.
	pthread_mutex_lock(&runtime.lock);
	while (runtime.streams > 0)
		pthread_cond_wait(&runtime.changed, &runtime.lock);
	pthread_mutex_unlock(&runtime.lock);
	grpc_call_unref(lag.call);
	grpc_completion_queue_shutdown(runtime.queue);
	for (uint32_t i = 0; i < runtime.thread_count; i++)
		pthread_join(runtime.threads[i], NULL);
	if (runtime.thread_count == 0) // nobody has seen the shutdown
		runtime_loop(NULL);
	grpc_completion_queue_destroy(runtime.queue);
	free(runtime.threads);
	runtime.queue = NULL;
	runtime.threads = NULL;
	runtime.thread_count = 0;
	// No grpc_shutdown: it joins gRPC's own threads, one of which may sleep for ten seconds after a connection was lost. They
	// hold nothing that the process's end would not take.
}

void rpc_exit(int code)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	exit(code); // what leaked is reported there
#else
	fflush(NULL);
	_exit(code);
#endif
}

grpc_arg runtime_argument(const char *key, int value)
{
	return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

size_t runtime_keepalive(uint32_t interval_ms, grpc_arg *ret_args)
{
	ret_args[0] = runtime_argument(GRPC_ARG_KEEPALIVE_TIME_MS, (int)interval_ms);
	// gRPC also gives it to the kernel, as TCP_USER_TIMEOUT: a peer that is stopped reads nothing, and its window fills.
	ret_args[1] = runtime_argument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, PROTOCOL_KEEPALIVE_TIMEOUT_MS);
	return 2;
}

// The sizes were chosen with tests/bench/exchange; docs/performance.md has the figures.
size_t runtime_arguments(uint32_t message_bytes, uint32_t metadata_bytes, grpc_arg ret_args[RUNTIME_MAXIMUM_ARGUMENTS])
{
	size_t count = 0;
	ret_args[count++] = runtime_argument(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)message_bytes);
	ret_args[count++] = runtime_argument(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_MAXIMUM_MESSAGE_BYTES);
	// Identity only: a small message must not unfold into a large one.
	ret_args[count++] = runtime_argument(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1);
	ret_args[count++] = runtime_argument(GRPC_ARG_MAX_METADATA_SIZE, (int)metadata_bytes);
	ret_args[count++] = runtime_argument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 4 << 20);
	ret_args[count++] = runtime_argument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 8 << 20);
	// Not more: a read into more than eight slices of 64 KiB during a TLS handshake leaves gRPC 1.51 with an array that it forgets,
	// 576 bytes a connection.
	ret_args[count++] = runtime_argument(GRPC_ARG_TCP_READ_CHUNK_SIZE, 512 << 10);
	ret_args[count++] = runtime_argument(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, 4 << 20);
	return count;
}
