// See connections.h.
#include "stage_server/limits/connections.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"

enum {
	BUCKETS = 1024,
	OWN_DESCRIPTORS = 64, // what the daemon needs besides connections, roughly
	EARLY_MS = 500,
	// HTTP/2 counts a call that was reset no more, but its end takes us some work: who has so many times --max-streams of them resets on
	// purpose ("rapid reset").
	FLOOD_FACTOR = 8,
	MAXIMUM_QUIET_BYTES = 4 << 20, // that a connection may send without a call
	MAXIMUM_FAILURES = 64,         // of accept, one after the other
};

static const struct metric_family open_family = {"penstock_connections", "Connections open now.", METRIC_GAUGE, 1.0};
static const struct metric_family total_family = {"penstock_connections_total", "Connections accepted.", METRIC_COUNTER,
						  1.0};

struct connection {
	struct connection *next; // in its bucket
	uint64_t key;            // of the peer's address; 0: it has none that could be told from others (Unix sockets)
	uint64_t accepted_ns, quiet_ns; // since when it has no call
	uint64_t quiet_bytes;           // received until then
	int descriptor;
	uint32_t calls;
	bool called; // ever
	bool ended;
};

static struct {
	_Atomic(bool) is_open;
	struct connections_options options;
	struct metric *open, *total;
	_Atomic(int) other_listener;
	_Atomic(int) spare; // a descriptor to give up when there is none left; -1: given up
	pthread_mutex_t lock;
	struct connection **by_descriptor;
	size_t descriptors;
	struct connection *buckets[BUCKETS];
	uint32_t count;
	bool draining, closed_some; // since the last tick
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .other_listener = -1, .spare = -1};

// ---- The C library's own

static int real_accept4(int listener, struct sockaddr *address, socklen_t *length, int flags)
{
	static _Atomic(void *) next;
	if (next == NULL)
		next = dlsym(RTLD_NEXT, "accept4");
	return ((int (*)(int, struct sockaddr *, socklen_t *, int))next)(listener, address, length, flags);
}

static int real_shutdown(int descriptor, int how)
{
	static _Atomic(void *) next;
	if (next == NULL)
		next = dlsym(RTLD_NEXT, "shutdown");
	return ((int (*)(int, int))next)(descriptor, how);
}

static int real_close(int descriptor)
{
	static _Atomic(void *) next;
	if (next == NULL)
		next = dlsym(RTLD_NEXT, "close");
	return ((int (*)(int))next)(descriptor);
}

// ---- The table

// Of "ipv4:127.0.0.1:4711" as of "127.0.0.1:4711", of "ipv6:%5B::1%5D:4711" as of "::1:4711".
static uint64_t key_of(const char *peer)
{
	uint64_t key = UINT64_C(14695981039346656037); // FNV-1a
	if (strncmp(peer, "unix", 4) == 0)
		return 0;
	if (strncmp(peer, "ipv4:", 5) == 0 || strncmp(peer, "ipv6:", 5) == 0)
		peer += 5;
	for (; *peer != '\0'; peer++) {
		if (*peer == '[' || *peer == ']')
			continue;
		if (strncmp(peer, "%5B", 3) == 0 || strncmp(peer, "%5D", 3) == 0) {
			peer += 2;
			continue;
		}
		if (*peer == '%') { // an interface's name, until the bracket
			while (peer[1] != '\0' && peer[1] != ']' && strncmp(peer + 1, "%5D", 3) != 0)
				peer++;
			continue;
		}
		key = (key ^ (uint8_t)*peer) * UINT64_C(1099511628211);
	}
	return key | 1;
}

static void format_address(const struct sockaddr *address, char *text, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "";
	uint16_t port = 0;
	snprintf(text, size, "unix");
	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)address;
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		port = in->sin_port;
	} else if (address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)address;
		if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr)) // as gRPC writes it
			inet_ntop(AF_INET, in->sin6_addr.s6_addr + 12, host, sizeof(host));
		else
			inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof(host));
		port = in->sin6_port;
	} else {
		return;
	}
	snprintf(text, size, "%s:%d", host, ntohs(port));
}

// The rest of this part with the lock held.
static struct connection *find(int descriptor)
{
	return descriptor >= 0 && (size_t)descriptor < gate.descriptors ? gate.by_descriptor[descriptor] : NULL;
}

static struct connection *find_peer(const char *peer)
{
	uint64_t key = key_of(peer);
	struct connection *connection = key != 0 ? gate.buckets[key % BUCKETS] : NULL;
	while (connection != NULL && connection->key != key)
		connection = connection->next;
	return connection;
}

static bool make_room(int descriptor)
{
	if ((size_t)descriptor < gate.descriptors)
		return true;
	size_t wanted = 2 * (size_t)descriptor + 64;
	struct connection **grown = realloc(gate.by_descriptor, wanted * sizeof(struct connection *));
	if (grown == NULL)
		return false;
	memset(grown + gate.descriptors, 0, (wanted - gate.descriptors) * sizeof(struct connection *));
	gate.by_descriptor = grown;
	gate.descriptors = wanted;
	return true;
}

static void remove_connection(int descriptor)
{
	struct connection *connection = find(descriptor);
	if (connection == NULL)
		return;
	struct connection **place = &gate.buckets[connection->key % BUCKETS];
	while (*place != connection)
		place = &(*place)->next;
	*place = connection->next;
	gate.by_descriptor[descriptor] = NULL;
	free(connection);
	gate.closed_some = true;
	metric_set(gate.open, --gate.count);
}

static bool add_connection(int descriptor, const char *address)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	if (connection == NULL || !make_room(descriptor)) {
		free(connection);
		return false;
	}
	remove_connection(descriptor); // one whose close did not pass through here
	connection->descriptor = descriptor;
	connection->key = key_of(address);
	connection->accepted_ns = connection->quiet_ns = clock_now_ns();
	connection->next = gate.buckets[connection->key % BUCKETS];
	gate.buckets[connection->key % BUCKETS] = connection;
	gate.by_descriptor[descriptor] = connection;
	metric_set(gate.open, ++gate.count);
	metric_add(gate.total, 1);
	return true;
}

// ---- Accepting

// Without a word: a client that was told why, by HTTP/2's SETTINGS and GOAWAY, counts as connected and comes again at once, thousands of
// times a second; one whose connection is closed waits longer and longer.
static void turn_away(int descriptor, const char *address)
{
	real_close(descriptor);
	limits_hit(gate.options.limits, LIMIT_CONNECTIONS,
		   "%s was turned away: %u connections are open, the limit (--max-connections)", address,
		   gate.options.maximum);
}

static int open_spare(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

// Ends the connection that waits first, for which there is no descriptor: the spare one is given up for a moment. False
// when there is none; then it waits.
static bool drop_waiting(int listener)
{
	int spare = atomic_exchange(&gate.spare, -1);
	if (spare < 0)
		return false;
	real_close(spare);
	int descriptor = real_accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (descriptor >= 0)
		real_close(descriptor);
	atomic_store(&gate.spare, open_spare());
	if (descriptor < 0)
		return false;
	limits_hit(gate.options.limits, LIMIT_DESCRIPTORS,
		   "a connection was closed: no descriptor is left for it; raise LimitNOFILE (ulimit -n) or lower "
		   "--max-connections");
	return true;
}

// gRPC's listener goes on after EAGAIN and EINTR and ends after all else, so nothing else comes out of here for what concerns
// a single connection or passes.
int accept4(int listener, __SOCKADDR_ARG given_address, socklen_t *length, int flags)
{
	struct sockaddr *address = given_address.__sockaddr__;
	if (!atomic_load(&gate.is_open) || listener == atomic_load(&gate.other_listener) || address == NULL)
		return real_accept4(listener, address, length, flags);
	socklen_t room = *length;
	for (int failures = 0; failures < MAXIMUM_FAILURES;) {
		*length = room;
		int descriptor = real_accept4(listener, address, length, flags);
		if (descriptor < 0) {
			if (errno == EAGAIN || errno == EINTR || errno == EBADF || errno == EINVAL || errno == ENOTSOCK)
				return -1; // the last three: the listener is closed
			bool is_full = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
			if (is_full && !drop_waiting(listener))
				break;
			failures += !is_full; // this connection was over before it began
			continue;
		}
		char text[INET6_ADDRSTRLEN + 8];
		format_address(address, text, sizeof(text));
		pthread_mutex_lock(&gate.lock);
		bool taken = gate.count < gate.options.maximum && add_connection(descriptor, text);
		pthread_mutex_unlock(&gate.lock);
		if (taken)
			return descriptor;
		turn_away(descriptor, text);
	}
	errno = EAGAIN;
	return -1;
}

// ---- Ending

// Why gRPC closes a connection that its peer has not closed: of the time-outs that have passed, the longer one. gRPC's clock
// may have read a little less than ours.
static enum limit reason(const struct connection *connection, uint64_t now_ns)
{
	uint64_t handshake_ms = gate.options.handshake_timeout_ms, idle_ms = gate.options.idle_timeout_ms;
	uint64_t age_ms = (now_ns - connection->accepted_ns) / 1000000 + EARLY_MS;
	uint64_t quiet_ms = (now_ns - connection->quiet_ns) / 1000000 + EARLY_MS;
	if (connection->calls > 0 || connection->key == 0)
		return LIMIT_COUNT;
	bool is_late = !connection->called && age_ms >= handshake_ms, is_idle = quiet_ms >= idle_ms;
	if (is_late && (!is_idle || handshake_ms >= idle_ms))
		return LIMIT_HANDSHAKE_TIMEOUT;
	return is_idle ? LIMIT_IDLE_TIMEOUT : LIMIT_COUNT;
}

int shutdown(int descriptor, int how)
{
	enum limit limit = LIMIT_COUNT;
	char byte;
	if (atomic_load(&gate.is_open)) {
		pthread_mutex_lock(&gate.lock);
		struct connection *connection = find(descriptor);
		if (connection != NULL && !connection->ended && !gate.draining) {
			ssize_t got = recv(descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
			if (got > 0 || (got < 0 && errno == EAGAIN)) // the peer is there yet
				limit = reason(connection, clock_now_ns());
			connection->ended = true;
		}
		pthread_mutex_unlock(&gate.lock);
	}
	if (limit == LIMIT_HANDSHAKE_TIMEOUT)
		limits_hit(gate.options.limits, limit,
			   "a connection was closed that did not begin to speak within %u s (--handshake-timeout)",
			   gate.options.handshake_timeout_ms / 1000);
	else if (limit == LIMIT_IDLE_TIMEOUT)
		limits_hit(gate.options.limits, limit,
			   "a connection was closed that made no call for %u s (--idle-timeout)",
			   gate.options.idle_timeout_ms / 1000);
	return real_shutdown(descriptor, how);
}

int close(int descriptor)
{
	if (atomic_load(&gate.is_open)) {
		// Before the system's: afterwards another thread's accept may return the same number.
		pthread_mutex_lock(&gate.lock);
		remove_connection(descriptor);
		pthread_mutex_unlock(&gate.lock);
	}
	return real_close(descriptor);
}

// ---- Calls

static uint64_t received_bytes(int descriptor)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);
	return getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_bytes_received : 0;
}

void connections_call_began(const char *peer)
{
	pthread_mutex_lock(&gate.lock);
	struct connection *connection = find_peer(peer);
	uint32_t calls = 0;
	if (connection != NULL) {
		calls = ++connection->calls;
		connection->called = true;
	}
	bool floods = connection != NULL && calls == FLOOD_FACTOR * gate.options.maximum_streams;
	if (floods) // with the lock, so that the descriptor is still this connection's
		real_shutdown(connection->descriptor, SHUT_RDWR);
	pthread_mutex_unlock(&gate.lock);
	if (floods)
		limits_hit(gate.options.limits, LIMIT_STREAMS,
			   "%s begins calls and resets them, faster than they can be ended: its connection was closed",
			   peer);
	if (calls > 0 && calls == gate.options.maximum_streams)
		limits_hit(gate.options.limits, LIMIT_STREAMS,
			   "%s has %u calls at once, the limit (--max-streams): its next ones wait", peer, calls);
}

void connections_call_ended(const char *peer)
{
	pthread_mutex_lock(&gate.lock);
	struct connection *connection = find_peer(peer);
	if (connection != NULL && connection->calls > 0 && --connection->calls == 0) {
		connection->quiet_ns = clock_now_ns();
		connection->quiet_bytes = received_bytes(connection->descriptor);
	}
	pthread_mutex_unlock(&gate.lock);
}

// gRPC 1.51 keeps all of a header block that never ends, whatever its limit of metadata. With the lock held; how many it cut.
static uint32_t cut_endless_headers(void)
{
	uint32_t cut = 0;
	for (size_t i = 0; i < gate.descriptors; i++) {
		struct connection *connection = gate.by_descriptor[i];
		if (connection == NULL || connection->key == 0 || connection->calls > 0 || connection->ended ||
		    received_bytes(connection->descriptor) - connection->quiet_bytes <= MAXIMUM_QUIET_BYTES)
			continue;
		connection->ended = true;
		real_shutdown(connection->descriptor, SHUT_RDWR);
		cut++;
	}
	return cut;
}

// ---- The whole

bool connections_open(const struct connections_options *options, struct error *error)
{
	struct rlimit limit;
	gate.options = *options;
	gate.open = metrics_series(options->metrics, &open_family, "");
	gate.total = metrics_series(options->metrics, &total_family, "");
	gate.draining = false;
	gate.spare = open_spare();
	if (gate.spare < 0)
		return error_set(error, ERROR_FAILED, "/dev/null: %m");
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < options->maximum + (rlim_t)OWN_DESCRIPTORS)
		log_warning("only %llu files may be open, too few for %u connections (--max-connections): raise "
			    "LimitNOFILE (ulimit -n)",
			    (unsigned long long)limit.rlim_cur, options->maximum);
	atomic_store(&gate.is_open, true);
	return true;
}

void connections_leave_alone(int listener)
{
	atomic_store(&gate.other_listener, listener);
}

void connections_tick(void)
{
	pthread_mutex_lock(&gate.lock);
	bool closed_some = gate.closed_some;
	gate.closed_some = false;
	uint32_t cut = cut_endless_headers();
	pthread_mutex_unlock(&gate.lock);
	for (uint32_t i = 0; i < cut; i++)
		limits_hit(gate.options.limits, LIMIT_METADATA_SIZE,
			   "a connection was closed that sent more than %d MiB and made no call",
			   MAXIMUM_QUIET_BYTES >> 20);
	if (closed_some)
		malloc_trim(0); // what a flood took, the C library would keep
	if (atomic_load(&gate.spare) < 0)
		atomic_store(&gate.spare, open_spare());
}

void connections_drain(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.draining = true;
	pthread_mutex_unlock(&gate.lock);
}

void connections_close(void)
{
	if (!atomic_exchange(&gate.is_open, false))
		return;
	pthread_mutex_lock(&gate.lock);
	for (size_t descriptor = 0; descriptor < gate.descriptors; descriptor++)
		remove_connection((int)descriptor);
	free(gate.by_descriptor);
	gate.by_descriptor = NULL;
	gate.descriptors = 0;
	pthread_mutex_unlock(&gate.lock);
	int spare = atomic_exchange(&gate.spare, -1);
	if (spare >= 0)
		real_close(spare);
}
