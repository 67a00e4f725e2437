// common/base/address: what is accepted in a form is accepted again as it is written, with the same parts; what is refused is quoted.
#include <stdlib.h>
#include <string.h>

#include "common/base/address.h"
#include "tests/fuzz/fuzz.h"

static void check(const char *text, enum address_form form)
{
	struct address address, again;
	struct error error = {0};
	char written[ADDRESS_SIZE];
	if (!address_parse(text, form, &address, &error)) {
		DEMAND(error.code == ERROR_USAGE && error.message[0] == '"');
		return;
	}
	bool port_may_lack = form == ADDRESS_NODE || address.kind == ADDRESS_SOCKET;
	DEMAND(address.port <= 65535 && (address.port >= 0 || port_may_lack));
	DEMAND(address.port != 0 || form != ADDRESS_NODE);
	DEMAND(address.host[0] != '\0' || form == ADDRESS_TCP);
	address_write(&address, written, sizeof(written));
	DEMAND(address_parse(written, form, &again, &error));
	DEMAND(again.kind == address.kind && again.port == address.port && strcmp(again.host, address.host) == 0);
	DEMAND(address_is_socket(text) == (address.kind == ADDRESS_SOCKET));
	if (form == ADDRESS_WHOLE)
		DEMAND(address_is_local(written) == address_is_local(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	check(text, ADDRESS_WHOLE);
	check(text, ADDRESS_TCP);
	check(text, ADDRESS_NODE);
	free(text);
	return 0;
}
