// See certificates.h.
#include "common/rpc/certificates.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/files.h"

enum { MAXIMUM_FILE_BYTES = 4 << 20 }; // a distribution's bundle of authorities is a quarter of a MiB

static void free_text(char *text)
{
	if (text != NULL)
		OPENSSL_cleanse(text, strlen(text));
	free(text);
}

// The whole file, ended with a zero; NULL with an error. Returns owned.
static char *read_file(const char *option, const char *path, struct error *error)
{
	FILE *file = files_open(path);
	char *text = file != NULL ? malloc(MAXIMUM_FILE_BYTES + 1) : NULL;
	if (text == NULL) {
		error_set(error, ERROR_USAGE, "--%s %s: %s", option, path, files_why_not(errno));
		if (file != NULL)
			fclose(file);
		return NULL;
	}
	errno = 0;
	size_t size = fread(text, 1, MAXIMUM_FILE_BYTES + 1, file);
	bool failed = ferror(file) != 0;
	if (failed)
		error_set(error, ERROR_USAGE, "--%s %s: %m", option, path);
	fclose(file);
	if (!failed && size <= MAXIMUM_FILE_BYTES && memchr(text, '\0', size) == NULL) {
		text[size] = '\0';
		char *fitting = realloc(text, size + 1);
		return fitting != NULL ? fitting : text;
	}
	if (!failed)
		error_set(error, ERROR_USAGE, "--%s %s: is no PEM file", option, path);
	OPENSSL_cleanse(text, size);
	free(text);
	return NULL;
}

static BIO *open_text(const char *text)
{
	return BIO_new_mem_buf(text, -1);
}

static void format_day(const ASN1_TIME *time, char *into, size_t size)
{
	struct tm tm = {0};
	ASN1_TIME_to_tm(time, &tm);
	strftime(into, size, "%Y-%m-%d %H:%M:%S UTC", &tm);
}

static bool check_dates(const char *option, const char *path, const X509 *certificate, struct error *error)
{
	char day[40];
	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0) {
		format_day(X509_get0_notAfter(certificate), day, sizeof(day));
		return error_set(error, ERROR_USAGE, "--%s %s: the certificate expired on %s: issue a new one", option,
				 path, day);
	}
	if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
		format_day(X509_get0_notBefore(certificate), day, sizeof(day));
		return error_set(error, ERROR_USAGE,
				 "--%s %s: the certificate is valid only from %s on: is this machine's clock right?",
				 option, path, day);
	}
	return true;
}

static int no_passphrase(char *buffer, int size, int writing, void *asked)
{
	*(bool *)asked = true;
	return -1;
}

static bool check_key(const struct rpc_tls_options *files, const char *text, const X509 *certificate,
		      struct error *error)
{
	bool asked = false;
	BIO *bio = open_text(text);
	EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked) : NULL;
	bool ok = key != NULL && X509_check_private_key(certificate, key) == 1;
	if (key == NULL)
		error_set(error, ERROR_USAGE,
			  asked ? "--tls-key-file %s: the key has a passphrase, which nobody could type: store it "
				  "without "
				  "(openssl pkey), readable by its user alone"
				: "--tls-key-file %s: holds no private key in PEM",
			  files->key_file);
	else if (!ok)
		error_set(error, ERROR_USAGE,
			  "--tls-key-file %s: is not the key of the certificate in --tls-cert-file %s", files->key_file,
			  files->cert_file);
	EVP_PKEY_free(key);
	BIO_free(bio);
	return ok;
}

static bool read_chain(const struct rpc_tls_options *files, struct certificates *certificates, struct error *error)
{
	certificates->chain = read_file("tls-cert-file", files->cert_file, error);
	if (certificates->chain == NULL)
		return false;
	certificates->key = read_file("tls-key-file", files->key_file, error);
	if (certificates->key == NULL)
		return false;
	BIO *bio = open_text(certificates->chain);
	X509 *certificate = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	struct tm tm = {0};
	bool ok = certificate != NULL ||
		  error_set(error, ERROR_USAGE, "--tls-cert-file %s: holds no certificate in PEM", files->cert_file);
	ok = ok && check_dates("tls-cert-file", files->cert_file, certificate, error) &&
	     check_key(files, certificates->key, certificate, error);
	if (ok && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1)
		certificates->expiry = timegm(&tm);
	X509_free(certificate);
	BIO_free(bio);
	return ok;
}

// One authority that is valid is enough: the old and the new one stand side by side while they are changed.
static bool read_authorities(const struct rpc_tls_options *files, struct certificates *certificates,
			     struct error *error)
{
	certificates->authorities = read_file("tls-ca-file", files->ca_file, error);
	BIO *bio = certificates->authorities != NULL ? open_text(certificates->authorities) : NULL;
	if (bio == NULL)
		return certificates->authorities == NULL ? false : error_set(error, ERROR_FAILED, "out of memory");
	bool some = false, valid = false;
	X509 *certificate;
	while (!valid && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		some = true;
		valid = check_dates("tls-ca-file", files->ca_file, certificate, error);
		X509_free(certificate);
	}
	BIO_free(bio);
	if (!some)
		error_set(error, ERROR_USAGE, "--tls-ca-file %s: holds no certificate in PEM", files->ca_file);
	return valid;
}

bool certificates_read(const struct rpc_tls_options *files, struct certificates *ret_certificates, struct error *error)
{
	struct certificates certificates = {0};
	bool ok = read_authorities(files, &certificates, error) &&
		  (files->cert_file == NULL || read_chain(files, &certificates, error));
	ERR_clear_error(); // a file's end, read by PEM_read, is one
	if (ok)
		*ret_certificates = certificates;
	else
		certificates_fini(&certificates);
	return ok;
}

void certificates_fini(struct certificates *certificates)
{
	free(certificates->chain);
	free(certificates->authorities);
	free_text(certificates->key);
	*certificates = (struct certificates){0};
}
