// A connection that failed, in words: gRPC's own text becomes the cause, where it happened and what to do about it.
#include <stdio.h>
#include <string.h>

#include "common/rpc/internal.h"

enum { PLAIN = 1, TLS = 2, BOTH = PLAIN | TLS };

#define OTHER_PORT "is this penstockd's port? It listens on 7070 by default"
#define START_IT   "is penstockd running there? systemctl status penstockd"

static const char no_tls_there[] =
	"it does not speak TLS: give it --tls-cert-file, or omit the --tls options on this side";
static const char refused_there[] =
	"it closed the connection, as a daemon does that refuses a certificate: this side's certificate may be missing "
	"(--tls-cert-file), expired, or signed by an authority that the other side's --tls-ca-file does not have; or "
	"it has reached its --max-connections";
static const char tls_there[] =
	"it closed the connection, as a daemon with TLS does: then give --tls-ca-file, --tls-cert-file and "
	"--tls-key-file; or it has reached its --max-connections";

// The first row whose text gRPC used counts. A server that refuses a client's certificate says so only after the client is done with
// its part (TLS 1.3), so the client sees a connection that closes.
static const struct {
	unsigned over; // PLAIN, TLS or BOTH
	const char *said;
	const char *cause;  // followed by " at ADDRESS" where gRPC names one
	const char *remedy; // NULL: the cause says it all, and gRPC's text follows for the details of TLS
} advices[] = {
	{TLS, "wrong version number", no_tls_there, NULL},
	{TLS, "packet length too long", no_tls_there, NULL},
	{TLS, "certificate verify failed", "its certificate has expired, or no authority in --tls-ca-file signed it",
	 NULL},
	{TLS, "is not in peer certificate",
	 "its certificate is not for the host that was dialled: issue one that names it, or give --tls-server-name",
	 NULL},
	{BOTH, "Connection refused", "connection refused", START_IT},
	{BOTH, "No such file or directory", "there is no such socket", START_IT},
	{BOTH, "Permission denied", "permission denied",
	 "may this user open the socket? ls -l shows its owner and mode"},
	{BOTH, "No route to host", "no route to the host", "is the host up, and its address right?"},
	{BOTH, "Network is unreachable", "the network is unreachable", "is this machine's network up?"},
	{BOTH, "Temporary failure in name resolution", "no name server responds",
	 "write an address in place of the name, or add the name to /etc/hosts"},
	{BOTH, "DNS resolution failed", "the host name is unknown", "does /etc/hosts or DNS have it?"},
	{BOTH, "imed out", "the connection timed out", "is the host up, and does a firewall block the port?"},
	{BOTH, "imeout", "the connection timed out", "is the host up, and does a firewall block the port?"},
	{PLAIN, "Failed parsing HTTP/2", "another program answers", OTHER_PORT},
	{BOTH, "http2 header with status", "another program answers", OTHER_PORT},
	{TLS, "Socket closed", refused_there, NULL},
	{TLS, "onnection reset", refused_there, NULL},
	{PLAIN, "Socket closed", tls_there, NULL},
	{PLAIN, "onnection reset", tls_there, NULL},
};

// " at 10.0.0.7:7070" of "... ipv4:10.0.0.7:7070: ...", or "".
static void find_address(const char *said, char *into, size_t size)
{
	const char *begin = strstr(said, "ipv4:");
	into[0] = '\0';
	if (begin == NULL)
		begin = strstr(said, "ipv6:");
	if (begin == NULL)
		return;
	begin += strlen("ipv4:");
	size_t length = strcspn(begin, " ");
	if (length > 0 && begin[length - 1] == ':')
		length--;
	snprintf(into, size, " at %.*s", (int)length, begin);
	for (char *escape = into; (escape = strstr(escape, "%5")) != NULL; escape++) { // of the brackets of IPv6
		*escape = escape[2] == 'B' ? '[' : ']';
		memmove(escape + 1, escape + 3, strlen(escape + 3) + 1);
	}
}

bool advice_add(bool over_tls, char *detail, size_t size)
{
	char said[512], address[80];
	// A connection that worked and then broke is another matter.
	if (strstr(detail, "failed to connect") == NULL && strstr(detail, "DNS resolution failed") == NULL &&
	    strstr(detail, "http2 header") == NULL)
		return false;
	snprintf(said, sizeof(said), "%s", detail);
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		if ((advices[i].over & (over_tls ? TLS : PLAIN)) == 0 || strstr(said, advices[i].said) == NULL)
			continue;
		find_address(said, address, sizeof(address));
		if (advices[i].remedy != NULL)
			snprintf(detail, size, "%s%s: %s", advices[i].cause, address, advices[i].remedy);
		else // the advice first: the rest may be cut
			snprintf(detail, size, "%s (gRPC: %s)", advices[i].cause, said);
		return true;
	}
	return false;
}
