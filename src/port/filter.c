// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The driver loads the program (its argument xdp_prog) and puts its sockets into xsks_map;
// we find the program that it has loaded by asking the kernel, and fill the other maps.
//
// A process that is killed leaves the program behind, and the driver refuses to start
// where there is one. Whether its maker still lives is told by an abstract unix socket,
// which belongs to the interface's network namespace and dies with its process.

#include "port/filter.h"

#include "base/log.h"
#include "port/filter_map.h"
#include "port/filter_object.h"
#include "port/port.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define COMPONENT "port"
#define MAPS_MAX  16

#define CLAIM_TRIES    20
#define CLAIM_PAUSE_US 100000

struct program {
	const char *name;
	const uint8_t *object;
	const size_t *length;
};

static const struct program programs[PORT_FILTERS] = {
	[PORT_FILTER_OWN] = {FILTER_PROGRAM, filter_object, &filter_object_length},
	[PORT_FILTER_BRIDGE] = {SHORTCUT_PROGRAM, shortcut_object, &shortcut_object_length},
};

bool port_is_af_xdp(const char *device)
{
	return strncmp(device, "net_af_xdp", strlen("net_af_xdp")) == 0;
}

int filter_program_open(enum port_filter filter, char *ret_path, size_t size)
{
	const struct program *program = &programs[filter];
	int fd = memfd_create(program->name, MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (write(fd, program->object, *program->length) != (ssize_t)*program->length) {
		close(fd);
		return -EIO;
	}
	snprintf(ret_path, size, "/proc/self/fd/%d", fd);
	return 0;
}

// --- claiming ------------------------------------------------------------------------------------

// The interface of a device string: what follows "iface=".
static unsigned interface_of(const char *device, char name[IF_NAMESIZE])
{
	const char *argument = strstr(device, ",iface=");

	if (argument == NULL)
		return 0;
	argument += strlen(",iface=");
	snprintf(name, IF_NAMESIZE, "%.*s", (int)strcspn(argument, ","), argument);
	return if_nametoindex(name);
}

// Lives as long as the process.
static int claim(unsigned if_index)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int length;

	if (fd < 0)
		return -errno;
	length = snprintf(
		address.sun_path + 1, sizeof(address.sun_path) - 1, "offramp-filter-%u", if_index);
	if (bind(fd, (const struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) == 0)
		return 0;
	length = errno;
	close(fd);
	return -length;
}

static int program_info(uint32_t id, struct bpf_prog_info *info)
{
	uint32_t size = sizeof(*info);
	int fd = bpf_prog_get_fd_by_id(id), r;

	if (fd < 0)
		return -errno;
	r = bpf_obj_get_info_by_fd(fd, info, &size);
	close(fd);
	return r;
}

static bool program_is(uint32_t id, enum port_filter filter)
{
	struct bpf_prog_info info = {0};

	return program_info(id, &info) == 0 && strcmp(info.name, programs[filter].name) == 0;
}

static bool program_is_ours(uint32_t id)
{
	return program_is(id, PORT_FILTER_OWN) || program_is(id, PORT_FILTER_BRIDGE);
}

static int leftover_remove(const char *name, unsigned if_index)
{
	log_info(COMPONENT, "%s: removing the XDP program that an earlier run left", name);
	return bpf_xdp_detach((int)if_index, 0, NULL);
}

int filter_claim(const char *device)
{
	char name[IF_NAMESIZE] = "";
	unsigned if_index = interface_of(device, name);
	uint32_t id = 0;
	int r;

	if (if_index == 0) {
		log_error(COMPONENT, "'%s': there is no interface '%s'", device, name);
		return -ENODEV;
	}
	// A process that was killed holds what it had until the kernel has freed all of it.
	for (unsigned tries = 0; (r = claim(if_index)) == -EADDRINUSE && tries < CLAIM_TRIES;
		tries++)
		usleep(CLAIM_PAUSE_US);
	if (r < 0) {
		log_error(COMPONENT, "%s: %s", name,
			r == -EADDRINUSE ? "another offrampd filters this interface"
					 : strerror(-r));
		return r;
	}
	if (bpf_xdp_query_id((int)if_index, 0, &id) < 0 || id == 0)
		return 0;
	if (!program_is_ours(id)) {
		log_error(COMPONENT,
			"%s: another XDP program is on it ('ip link' shows it): remove that one, or "
			"leave the port's filter off",
			name);
		return -EEXIST;
	}
	return leftover_remove(name, if_index);
}

void filter_clean(const char *device)
{
	char name[IF_NAMESIZE] = "";
	unsigned if_index = interface_of(device, name);
	uint32_t id = 0;

	if (if_index != 0 && bpf_xdp_query_id((int)if_index, 0, &id) == 0 && id != 0 &&
		program_is_ours(id) && claim(if_index) == 0)
		leftover_remove(name, if_index);
}

// --- trying --------------------------------------------------------------------------------------

static int object_attach(struct bpf_object *object, unsigned if_index)
{
	int r = bpf_object__load(object), fd;

	if (r < 0)
		return r;
	fd = bpf_program__fd(bpf_object__next_program(object, NULL));
	r = bpf_xdp_attach((int)if_index, fd, XDP_FLAGS_UPDATE_IF_NOEXIST, NULL);
	return r < 0 ? r : bpf_xdp_detach((int)if_index, 0, NULL);
}

int filter_try(const char *device, enum port_filter filter)
{
	char name[IF_NAMESIZE] = "";
	unsigned if_index = interface_of(device, name);
	struct bpf_object *object =
		bpf_object__open_mem(programs[filter].object, *programs[filter].length, NULL);
	int r = object != NULL ? object_attach(object, if_index) : -errno;

	bpf_object__close(object);
	if (r < 0)
		log_warning(COMPONENT, "%s: the kernel does not take our XDP program: %s", name,
			strerror(-r));
	return r;
}

// --- finding -------------------------------------------------------------------------------------

bool filter_program_find(
	unsigned if_index, enum port_filter filter, uint32_t *ret_id, bool *ret_generic)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, on);

	if (bpf_xdp_query((int)if_index, 0, &on) < 0 || on.prog_id == 0 ||
		!program_is(on.prog_id, filter))
		return false;
	*ret_id = on.prog_id;
	*ret_generic = on.attach_mode == XDP_ATTACHED_SKB;
	return true;
}

int filter_map_open(uint32_t program, const char *name)
{
	uint32_t ids[MAPS_MAX], size;
	struct bpf_prog_info info = {.nr_map_ids = MAPS_MAX, .map_ids = (uintptr_t)ids};
	int fd, r = program_info(program, &info);

	for (uint32_t i = 0; r == 0 && i < info.nr_map_ids && i < MAPS_MAX; i++) {
		struct bpf_map_info map = {0};

		fd = bpf_map_get_fd_by_id(ids[i]);
		size = sizeof(map);
		if (fd < 0)
			return -errno;
		if (bpf_obj_get_info_by_fd(fd, &map, &size) == 0 && strcmp(map.name, name) == 0)
			return fd;
		close(fd);
	}
	return r < 0 ? r : -ENOENT;
}

// --- filling -------------------------------------------------------------------------------------

static bool is_ipv4(const struct port_address *address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(address->bytes, mapped, sizeof(mapped)) == 0;
}

// Solicited-node, RFC 4291 2.7.1.
static struct port_address group_of(const struct port_address *address)
{
	struct port_address group = {.bytes = {0xff, 0x02, [11] = 1, [12] = 0xff}};

	memcpy(group.bytes + 13, address->bytes + 13, 3);
	return group;
}

static int add(int map, const struct port_address *address)
{
	const uint8_t nothing = 0;

	return bpf_map_update_elem(map, address, &nothing, BPF_ANY) < 0 ? -errno : 0;
}

int filter_fill(
	const char *name, unsigned if_index, const struct port_address *addresses, unsigned count)
{
	uint32_t program;
	bool generic;
	int map = filter_program_find(if_index, PORT_FILTER_OWN, &program, &generic)
			  ? filter_map_open(program, FILTER_OWN)
			  : -ENOENT;
	int r = map < 0 ? map : 0;

	for (unsigned i = 0; r == 0 && i < count; i++) {
		r = add(map, &addresses[i]);
		if (r == 0 && !is_ipv4(&addresses[i])) {
			struct port_address group = group_of(&addresses[i]);

			r = add(map, &group);
		}
	}
	if (map >= 0)
		close(map);
	if (r < 0)
		log_error(COMPONENT, "%s: the XDP program cannot be told our addresses: %s", name,
			strerror(-r));
	else
		log_info(COMPONENT, "%s: the kernel keeps what is not for Offramp (XDP)", name);
	return r;
}
