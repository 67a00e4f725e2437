// How fast tensors cross from one process to another through common/rpc, beside a plain TCP socket moving the same bytes
// into the same kind of buffer, in turns in one run. Prints GB/s of both and their ratio; with --tls also of the same over
// TLS, mutual as between daemons, with the certificate node.pem, node.key and ca.pem of a folder (deploy/tls makes them).
//
//   bench_exchange [--tensors N] [--rounds N] [--connections N] [--chunk-bytes N] [--minimum-ratio R] [--tls FOLDER]
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/strings.h"
#include "common/rpc/protocol.h"
#include "common/rpc/rpc.h"
#include "common/wire/exchange.h"
#include "common/wire/types.h"

enum { TENSOR_BYTES = 8 << 20, DESTINATIONS = 4, MAXIMUM_ROUNDS = 101 };

static struct {
	uint32_t tensors, rounds, connections, chunk_bytes;
	double minimum_ratio;
	const char *tls;
} options = {64, 7, 2, 2 << 20, 0.0, NULL};

static void die(const char *what)
{
	fprintf(stderr, "bench_exchange: %s: %s\n", what, strerror(errno));
	exit(1);
}

// ---- The receiving process

static uint8_t *destination[DESTINATIONS];
static _Atomic(uint64_t) received_bytes;

// Copies each chunk to its place; answers with a credit when a round's bytes are all here.
static void chunk_arrived(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	struct error error;
	struct wire_exchange *message = wire_exchange_read(incoming, &error);
	if (message == NULL || message->kind != EXCHANGE_CHUNK) {
		rpc_stream_finish(stream, RPC_INVALID_ARGUMENT, "not a chunk");
		return;
	}
	const struct tensor_chunk *chunk = &message->chunk;
	size_t size = rpc_incoming_payload_size(incoming);
	if (chunk->offset_bytes + size <= TENSOR_BYTES)
		rpc_incoming_copy_payload(incoming,
					  destination[chunk->micro_batch % DESTINATIONS] + chunk->offset_bytes);
	wire_exchange_free(message);
	uint64_t total = atomic_fetch_add(&received_bytes, size) + size;
	if (total % ((uint64_t)options.tensors * TENSOR_BYTES) == 0) {
		struct wire_exchange answer = {.kind = EXCHANGE_CREDIT, .credit = {.tensors = 1}};
		wire_exchange_send(stream, &answer, NULL, 0, 0);
	}
}

static void stream_ended(struct rpc_stream *stream, enum rpc_status status, const char *detail, void *user)
{
	rpc_stream_unref(stream);
}

static void stream_arrived(struct rpc_stream *stream, void *user)
{
	static const struct rpc_stream_events events = {.message = chunk_arrived, .closed = stream_ended};
	rpc_stream_accept(stream, &events, NULL);
}

static void read_fully(int socket, uint8_t *into, size_t size)
{
	while (size > 0) {
		ssize_t count = read(socket, into, size);
		if (count <= 0)
			die("read");
		into += count;
		size -= (size_t)count;
	}
}

static void write_fully(int socket, const uint8_t *from, size_t size)
{
	while (size > 0) {
		ssize_t count = write(socket, from, size);
		if (count <= 0)
			die("write");
		from += count;
		size -= (size_t)count;
	}
}

__attribute__((noreturn)) static void *raw_receiver(void *argument)
{
	int listener = *(int *)argument, one = 1;
	int connection = accept(listener, NULL, NULL);
	if (connection < 0)
		die("accept");
	setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (;;) {
		for (uint32_t i = 0; i < options.tensors; i++)
			read_fully(connection, destination[i % DESTINATIONS], TENSOR_BYTES);
		write_fully(connection, (const uint8_t *)"", 1);
	}
}

static int listen_on_loopback(uint16_t *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 1) != 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) != 0)
		die("listen");
	*ret_port = ntohs(address.sin_port);
	return listener;
}

static struct rpc_tls *open_tls(void)
{
	char cert[PATH_MAX], key[PATH_MAX], ca[PATH_MAX];
	struct rpc_tls *tls = NULL;
	struct error error;
	snprintf(cert, sizeof(cert), "%s/node.pem", options.tls);
	snprintf(key, sizeof(key), "%s/node.key", options.tls);
	snprintf(ca, sizeof(ca), "%s/ca.pem", options.tls);
	if (!rpc_tls_create(
		    &(struct rpc_tls_options){.cert_file = cert, .key_file = key, .ca_file = ca, .client_auth = true},
		    &tls, &error)) {
		fprintf(stderr, "bench_exchange: %s\n", error.message);
		exit(1);
	}
	return tls;
}

static uint16_t serve(struct rpc_tls *tls)
{
	struct error error;
	struct rpc_server *server;
	struct rpc_method method = {.name = PROTOCOL_METHOD_EXCHANGE, .handler = stream_arrived};
	const char *address = "127.0.0.1:0";
	struct rpc_server_options server_options = {.addresses = &address, .address_count = 1, .tls = tls};
	if (!rpc_server_start(&server_options, &method, 1, &server, &error)) {
		fprintf(stderr, "bench_exchange: %s\n", error.message);
		exit(1);
	}
	return (uint16_t)rpc_server_port(server, 0);
}

enum { RAW, PLAIN, OVER_TLS, PORTS };

static void receive_forever(int ports)
{
	struct error error;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < DESTINATIONS; i++) {
		destination[i] = buffer_create(TENSOR_BYTES)->data;
		memset(destination[i], 0, TENSOR_BYTES);
	}
	uint16_t port[PORTS] = {0};
	int listener = listen_on_loopback(&port[RAW]);
	pthread_t thread;
	if (pthread_create(&thread, NULL, raw_receiver, &listener) != 0)
		die("thread");
	if (!rpc_start(2, &error))
		die(error.message);
	port[PLAIN] = serve(NULL);
	if (options.tls != NULL)
		port[OVER_TLS] = serve(open_tls());
	if (write(ports, port, sizeof(port)) != sizeof(port))
		die("write");
	for (;;)
		pause();
}

// ---- The sending process

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint32_t rounds_received;
static bool broken;

static void round_received(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	pthread_mutex_lock(&lock);
	rounds_received++;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

static void call_ended(struct rpc_stream *stream, enum rpc_status status, const char *detail, void *user)
{
	pthread_mutex_lock(&lock);
	broken = true;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

// The connections over which the rounds of one kind go.
struct way {
	struct rpc_client *clients[PROTOCOL_MAXIMUM_CONNECTIONS];
	struct rpc_stream *streams[PROTOCOL_MAXIMUM_CONNECTIONS];
	double rates[MAXIMUM_ROUNDS], ratios[MAXIMUM_ROUNDS]; // GB/s, and of raw TCP's
	double cpu[MAXIMUM_ROUNDS]; // s of both processes per GB: what a busy machine does not change much
};

static clockid_t receiver_clock; // of the other process's CPU time

static double cpu_seconds(void)
{
	struct timespec here, there;
	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &here) != 0 || clock_gettime(receiver_clock, &there) != 0)
		die("clock_gettime");
	return (double)(here.tv_sec + there.tv_sec) + (double)(here.tv_nsec + there.tv_nsec) * 1e-9;
}

static void way_open(struct way *way, uint16_t port, struct rpc_tls *tls)
{
	static const struct rpc_stream_events events = {.message = round_received, .closed = call_ended};
	char address[32];
	struct error error;
	snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	for (uint32_t i = 0; i < options.connections; i++) {
		if (!rpc_client_create(address, &(struct rpc_client_options){.tls = tls}, &way->clients[i], &error))
			die(error.message);
		way->streams[i] = rpc_client_stream(way->clients[i], PROTOCOL_METHOD_EXCHANGE, 0, &events, NULL);
	}
}

static void way_close(struct way *way)
{
	for (uint32_t i = 0; i < options.connections; i++) {
		rpc_stream_cancel(way->streams[i]);
		rpc_stream_unref(way->streams[i]);
		rpc_client_destroy(way->clients[i]);
	}
}

static double send_round(struct rpc_stream **streams, struct buffer_pool *pool)
{
	static uint32_t round; // of both kinds
	uint64_t begin = clock_now_ns();
	uint32_t dimensions[] = {64, 128, 16, 16}; // 8 MiB of float32
	struct wire_exchange message = {
		.kind = EXCHANGE_CHUNK,
		.chunk = {.step = round, .dtype = wire_data_type(DATA_FLOAT32), .shape = dimensions, .rank = 4}};
	for (uint32_t t = 0; t < options.tensors; t++) {
		struct buffer *tensor = buffer_pool_take(pool);
		message.chunk.micro_batch = t;
		for (uint32_t offset = 0, i = 0; offset < TENSOR_BYTES; offset += options.chunk_bytes, i++) {
			size_t size = TENSOR_BYTES - offset < options.chunk_bytes ? TENSOR_BYTES - offset
										  : options.chunk_bytes;
			message.chunk.offset_bytes = offset;
			wire_exchange_send(streams[i % options.connections], &message, tensor, offset, size);
		}
		buffer_unref(tensor);
	}
	pthread_mutex_lock(&lock);
	while (rounds_received <= round && !broken)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	round++;
	return (double)(clock_now_ns() - begin) * 1e-9;
}

static double send_raw_round(int connection, const uint8_t *tensor)
{
	uint64_t begin = clock_now_ns();
	uint8_t answer;
	for (uint32_t t = 0; t < options.tensors; t++)
		write_fully(connection, tensor, TENSOR_BYTES);
	read_fully(connection, &answer, 1);
	return (double)(clock_now_ns() - begin) * 1e-9;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *values, uint32_t count)
{
	qsort(values, count, sizeof(*values), compare_doubles);
	return values[count / 2];
}

static void measure_round(struct way *way, struct buffer_pool *pool, uint32_t round)
{
	double gigabytes = (double)options.tensors * TENSOR_BYTES / 1e9, before = cpu_seconds();
	way->rates[round] = gigabytes / send_round(way->streams, pool);
	way->cpu[round] = (cpu_seconds() - before) / gigabytes;
}

static int measure(const uint16_t port[PORTS])
{
	struct error error;
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port[RAW])};
	int connection = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	if (connection < 0 || connect(connection, (struct sockaddr *)&to, sizeof(to)) != 0)
		die("connect");
	setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	static struct way plain, secure;
	struct rpc_tls *tls = options.tls != NULL ? open_tls() : NULL;
	if (!rpc_start(2, &error))
		die(error.message);
	way_open(&plain, port[PLAIN], NULL);
	if (tls != NULL)
		way_open(&secure, port[OVER_TLS], tls);
	struct buffer_pool *pool = buffer_pool_create(TENSOR_BYTES, DESTINATIONS, NULL);
	struct buffer *raw = buffer_create(TENSOR_BYTES);
	memset(raw->data, 1, raw->size);
	double theirs[MAXIMUM_ROUNDS];
	send_raw_round(connection, raw->data);
	send_round(plain.streams, pool);
	if (tls != NULL)
		send_round(secure.streams, pool);
	double bytes = (double)options.tensors * TENSOR_BYTES;
	for (uint32_t round = 0; round < options.rounds; round++) {
		theirs[round] = bytes / send_raw_round(connection, raw->data) / 1e9;
		measure_round(&plain, pool, round);
		plain.ratios[round] = plain.rates[round] / theirs[round];
		if (tls == NULL)
			continue;
		measure_round(&secure, pool, round);
		secure.ratios[round] = secure.rates[round] / plain.rates[round];
	}
	if (broken) {
		fprintf(stderr, "bench_exchange: the stream broke\n");
		return 1;
	}
	double ratio = median(plain.ratios, options.rounds);
	printf("connections %u, chunk %u KiB: exchange %.2f GB/s, raw TCP %.2f GB/s, ratio %.3f (medians of %u rounds "
	       "of %u x 8 MiB)\n",
	       options.connections, options.chunk_bytes >> 10, median(plain.rates, options.rounds),
	       median(theirs, options.rounds), ratio, options.rounds, options.tensors);
	if (tls != NULL) {
		printf("over TLS %.2f GB/s, %.3f of the exchange without; CPU of both ends %.2f s per GB, without TLS "
		       "%.2f\n",
		       median(secure.rates, options.rounds), median(secure.ratios, options.rounds),
		       median(secure.cpu, options.rounds), median(plain.cpu, options.rounds));
		way_close(&secure);
	}
	way_close(&plain);
	rpc_stop();
	rpc_tls_destroy(tls);
	return ratio >= options.minimum_ratio ? 0 : 1;
}

static void parse(int argc, char **argv)
{
	static const struct option known[] = {
		{"tensors", required_argument, NULL, 't'},
		{"rounds", required_argument, NULL, 'r'},
		{"connections", required_argument, NULL, 'c'},
		{"chunk-bytes", required_argument, NULL, 'b'},
		{"minimum-ratio", required_argument, NULL, 'm'},
		{"tls", required_argument, NULL, 's'},
		{0},
	};
	static const int64_t largest[128] = {['t'] = 1 << 20,
					     ['r'] = MAXIMUM_ROUNDS,
					     ['c'] = PROTOCOL_MAXIMUM_CONNECTIONS,
					     ['b'] = PROTOCOL_MAXIMUM_CHUNK_BYTES};
	uint32_t *const into[128] = {['t'] = &options.tensors,
				     ['r'] = &options.rounds,
				     ['c'] = &options.connections,
				     ['b'] = &options.chunk_bytes};
	int option;
	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		int64_t value = 0;
		struct error error = {.message = "unknown option"};
		bool ok = false;
		if (option == 's') {
			options.tls = optarg;
			continue;
		}
		if (option == 'm')
			ok = strings_parse_number(optarg, &options.minimum_ratio, &error);
		else if (option != '?')
			ok = strings_parse_integer(optarg, 1, largest[option], &value, &error);
		if (!ok) {
			fprintf(stderr, "bench_exchange: %s\n", error.message);
			exit(2);
		}
		if (option != 'm')
			*into[option] = (uint32_t)value;
	}
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	int ports[2];
	if (pipe(ports) != 0)
		die("pipe");
	pid_t child = fork(); // before any thread
	if (child < 0)
		die("fork");
	if (child == 0)
		receive_forever(ports[1]);
	close(ports[1]);
	if (clock_getcpuclockid(child, &receiver_clock) != 0)
		die("clock_getcpuclockid");
	uint16_t port[PORTS];
	if (read(ports[0], port, sizeof(port)) != sizeof(port))
		die("the receiving process did not start");
	int status = measure(port);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return status;
}
