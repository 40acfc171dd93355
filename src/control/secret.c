// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The key of RFC 6528: initial sequence numbers must stay unpredictable, and keep
// their pace over a restart, so the key may live in a file. Main thread, at start.

#include "control/config.h"

#include "base/log.h"

#include <sys/random.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SECRET_LENGTH 16

static int secret_random(uint8_t secret[SECRET_LENGTH])
{
	return getrandom(secret, SECRET_LENGTH, 0) == SECRET_LENGTH ? 0 : -errno;
}

// Written beside and renamed, so that a crash leaves no half of a key.
static int secret_create(const char *file, uint8_t secret[SECRET_LENGTH])
{
	char beside[PATH_MAX];
	int err, fd;

	if (snprintf(beside, sizeof(beside), "%s.new", file) >= (int)sizeof(beside))
		return -ENAMETOOLONG;
	err = secret_random(secret);
	if (err)
		return err;
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, secret, SECRET_LENGTH) != SECRET_LENGTH || fsync(fd) < 0)
		err = errno ? -errno : -EIO;
	close(fd);
	if (!err && rename(beside, file) < 0)
		err = -errno;
	if (err)
		unlink(beside);
	return err;
}

static int secret_read(const char *file, uint8_t secret[SECRET_LENGTH])
{
	uint8_t bytes[SECRET_LENGTH + 1];
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = fstat(fd, &st) < 0 ? -1 : read(fd, bytes, sizeof(bytes));
	close(fd);
	if (n < 0)
		return -EIO;
	if (n != SECRET_LENGTH || !S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_mode & 077)
		log_warning("control", "secret_file %s can be read by others; chmod 600 it", file);
	memcpy(secret, bytes, SECRET_LENGTH);
	return 0;
}

int config_secret(const struct config *config, uint8_t ret_secret[16])
{
	const char *file = config->secret_file;
	int err;

	if (!file) {
		err = secret_random(ret_secret);
		if (err)
			log_error("control", "no random bytes: %s", strerror(-err));
		return err;
	}
	err = secret_read(file, ret_secret);
	if (err == -ENOENT)
		err = secret_create(file, ret_secret);
	if (err == -EINVAL)
		log_error("control",
			"secret_file %s is not a file of %d bytes; remove it to have it made anew",
			file, SECRET_LENGTH);
	else if (err)
		log_error("control", "secret_file %s: %s", file, strerror(-err));
	return err;
}
