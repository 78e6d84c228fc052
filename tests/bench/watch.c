/*
 * The watchers of a benchmark of fan-out: opens many connections to one server, counts what is delivered over them,
 * checks that it is complete and in order, and says how long it took.
 *
 *     watch PORT CONNECTIONS BUFFER FORM MARK OPENING HELLO READY PING PONG
 *
 * Knows nothing of a server but what it is given, in hexadecimal: OPENING is sent on a connection at once, HELLO when
 * the head of the answer is here, PONG whenever PING arrives. A connection is ready when READY has arrived. FORM is
 * "frames" for WebSocket, or "events" for Server-Sent Events. BUFFER is what the kernel keeps of what was not read, in
 * bytes of each connection; 0 leaves it to the kernel.
 *
 * What is delivered are publications. Each bears, right behind MARK, its number in 10 digits, " at ", and the time that
 * it was due, of CLOCK_MONOTONIC, in 16 digits of microseconds. The first has the number 0; a connection is to get each
 * once, in order. Several may arrive as one frame or event, or in one read; each counts.
 *
 * Says on the standard output, a line each:
 *     ready                  every connection is
 *     reached NUMBER         every connection has got the publication
 *     {...}                  what was counted since the last such line; upon "report" on the standard input
 * and ends with the standard input, or with why on the standard error as soon as a connection is closed.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 1 << 18,
    OPENING_MAX = 64,      /* connections that are being opened: less than any server's backlog */
    EVENTS_MAX = 256,
    BUCKET_US = 10,
    BUCKETS = 1 << 20,     /* latencies up to ten seconds; longer ones are in the last */
    PINGED_MAX = 4096,     /* bytes of a unit in which a ping is looked for: a long one comes of a stream that is hot */
    DIGITS_BYTES = 30,     /* "0000000012 at 0000001234567890" */
};

struct bytes {
    char *at;
    size_t size;
};

struct connection {
    int socket;
    bool greeted, ready;
    uint32_t next;         /* the number of the publication that is to come */
    struct bytes rest;     /* the beginning of a unit that has not arrived whole */
};

static struct {
    uint64_t deliveries, wrong, others, reads, bytes, slowest_us;
    uint32_t latencies[BUCKETS];
} seen;

static struct connection *connections;
static int connection_count, buffer_bytes, opened, ready;
static bool events;
static struct bytes mark, opening, hello, ready_mark, ping, pong;
static struct sockaddr_in server = {.sin_family = AF_INET};
static int epoll;

static uint32_t *reached;  /* of each publication, how many connections have it */
static size_t reached_size;
static double cpu_before_s;

static void fail(const char *what)
{
    fprintf(stderr, "watch: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static struct bytes from_hexadecimal(const char *digits)
{
    struct bytes bytes = {.size = strlen(digits) / 2};
    bytes.at = malloc(bytes.size + 1);
    if (bytes.at == NULL)
        fail("malloc");
    for (size_t at = 0; at < bytes.size; at++)
        if (sscanf(digits + 2 * at, "%2hhx", (unsigned char *)bytes.at + at) != 1)
            fail("not hexadecimal");
    return bytes;
}

/* -- connections --------------------------------------------------------------------------------------------------- */

static void send_whole(int socket, struct bytes message)
{
    /* Little is ever sent, so that the kernel always has room for it. */
    if (send(socket, message.at, message.size, MSG_NOSIGNAL) != (ssize_t)message.size)
        fail("send");
}

static void open_more(void)
{
    while (opened < connection_count && opened - ready < OPENING_MAX) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[opened]};
        int stream = socket(AF_INET, SOCK_STREAM, 0);
        if (stream >= 0 && buffer_bytes &&
            setsockopt(stream, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes))
            fail("setsockopt");
        if (stream < 0 || connect(stream, (struct sockaddr *)&server, sizeof server))
            fail("connect");
        fcntl(stream, F_SETFL, O_NONBLOCK);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, stream, &event))
            fail("epoll_ctl");
        connections[opened++].socket = stream;
        send_whole(stream, opening);
    }
}

/* -- what is delivered --------------------------------------------------------------------------------------------- */

static uint64_t number_at(const char *digits, int count)
{
    uint64_t number = 0;
    while (count--)
        number = 10 * number + (uint64_t)(*digits++ - '0');
    return number;
}

static void count_reached(uint32_t number)
{
    if (number >= reached_size) {
        size_t size = 2 * (size_t)number + 1024;
        reached = realloc(reached, size * sizeof *reached);
        if (reached == NULL)
            fail("realloc");
        memset(reached + reached_size, 0, (size - reached_size) * sizeof *reached);
        reached_size = size;
    }
    if (++reached[number] == (uint32_t)connection_count)
        printf("reached %" PRIu32 "\n", number);
}

/* digits stand behind the mark. */
static void take_publication(struct connection *connection, const char *digits, uint64_t now_us)
{
    uint32_t number = (uint32_t)number_at(digits, 10);
    uint64_t due_us = number_at(digits + 14, 16), took_us = now_us > due_us ? now_us - due_us : 0;
    uint64_t bucket = took_us / BUCKET_US;
    seen.deliveries++;
    seen.latencies[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    if (took_us > seen.slowest_us)
        seen.slowest_us = took_us;
    if (number != connection->next)
        seen.wrong++;
    connection->next = number + 1;
    count_reached(number);
}

/* Whether the line is one of the unit: a server may join a ping with what it sends besides. */
static bool has_line(const char *unit, size_t size, struct bytes line)
{
    const char *end = unit + size, *found = unit;
    while ((found = memmem(found, (size_t)(end - found), line.at, line.size))) {
        const char *after = found + line.size;
        if ((found == unit || found[-1] == '\n') && (after == end || *after == '\n'))
            return true;
        found = after;
    }
    return false;
}

/* A frame's payload, an event, or the head of the answer. */
static void take_unit(struct connection *connection, const char *unit, size_t size, uint64_t now_us)
{
    const char *end = unit + size, *found;
    if (!connection->greeted) {
        connection->greeted = true;
        send_whole(connection->socket, hello);
    }
    if (!connection->ready && memmem(unit, size, ready_mark.at, ready_mark.size)) {
        connection->ready = true;
        if (++ready == connection_count)
            printf("ready\n");
        open_more();
    }
    if (ping.size && size <= PINGED_MAX && has_line(unit, size, ping)) {
        send_whole(connection->socket, pong);
        if (size == ping.size)
            return;
    }
    uint64_t before = seen.deliveries;
    while ((found = memmem(unit, (size_t)(end - unit), mark.at, mark.size)) &&
           found + mark.size + DIGITS_BYTES <= end) {
        take_publication(connection, found + mark.size, now_us);
        unit = found + mark.size + DIGITS_BYTES;
    }
    seen.others += seen.deliveries == before;
}

/* How many bytes there are up to the end of the first blank line; 0 if there is none. An event has few
 * lines, so that memchr() finds it in as many steps, where memmem() looks at each byte. */
static size_t blank_line(const char *data, size_t size)
{
    const char *end = data + size, *at = data;
    while ((at = memchr(at, '\n', (size_t)(end - at))) && ++at < end)
        if (*at == '\n')
            return (size_t)(at + 1 - data);
    return 0;
}

/* How many bytes the first unit of the data has, and where what it says begins; 0 if it is not here whole. */
static size_t unit_size(const struct connection *connection, const char *data, size_t size, size_t *begins)
{
    *begins = 0;
    if (events)
        return blank_line(data, size);
    if (!connection->greeted) {
        const char *end = memmem(data, size, "\r\n\r\n", 4);
        return end ? (size_t)(end - data) + 4 : 0;
    }
    /* RFC 6455, 5.2; a server does not mask. */
    const unsigned char *head = (const unsigned char *)data;
    if (size < 2)
        return 0;
    size_t payload = head[1] & 0x7f, length_size = payload < 126 ? 0 : payload == 126 ? 2 : 8;
    *begins = 2 + length_size;
    if (size < *begins)
        return 0;
    if (length_size)
        payload = 0;
    for (size_t at = 2; at < *begins; at++)
        payload = payload << 8 | head[at];
    return *begins + payload <= size ? *begins + payload : 0;
}

static void read_from(struct connection *connection)
{
    static char data[2 * READ_BYTES];
    struct bytes *rest = &connection->rest;
    size_t begins, unit;
    if (rest->size > READ_BYTES) {
        errno = EMSGSIZE;
        fail("what arrives has no end");
    }
    if (rest->size)
        memcpy(data, rest->at, rest->size);
    ssize_t got = recv(connection->socket, data + rest->size, READ_BYTES, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got < 0)
        fail("recv");
    if (got == 0) {
        errno = 0;
        fail("a connection was closed");
    }
    uint64_t now_us = (uint64_t)(1e6 * seconds(CLOCK_MONOTONIC));
    size_t size = rest->size + (size_t)got, at = 0;
    uint64_t before = seen.deliveries;
    seen.bytes += (uint64_t)got;
    while ((unit = unit_size(connection, data + at, size - at, &begins))) {
        take_unit(connection, data + at + begins, unit - begins, now_us);
        at += unit;
    }
    seen.reads += seen.deliveries != before;
    rest->size = size - at;
    if (rest->size) {
        rest->at = realloc(rest->at, rest->size);
        if (rest->at == NULL)
            fail("realloc");
        memcpy(rest->at, data + at, rest->size);
    }
}

/* -- the report ---------------------------------------------------------------------------------------------------- */

/* What so large a share of the deliveries took at most, to the width of a bucket. */
static double quantile_ms(double share)
{
    uint64_t below = 0, wanted = (uint64_t)(share * (double)seen.deliveries);
    for (size_t bucket = 0; bucket < BUCKETS; bucket++)
        if ((below += seen.latencies[bucket]) > wanted)
            return 1e-3 * BUCKET_US * (double)(bucket + 1);
    return 1e-3 * (double)seen.slowest_us;
}

static void report(void)
{
    double cpu_s = seconds(CLOCK_PROCESS_CPUTIME_ID);
    printf("{\"deliveries\":%" PRIu64 ",\"wrong\":%" PRIu64 ",\"reads\":%" PRIu64 ",\"others\":%" PRIu64
           ",\"bytes\":%" PRIu64 ",\"cpu_s\":%.6f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n",
           seen.deliveries, seen.wrong, seen.reads, seen.others, seen.bytes, cpu_s - cpu_before_s, quantile_ms(0.5),
           quantile_ms(0.99), 1e-3 * (double)seen.slowest_us);
    memset(&seen, 0, sizeof seen);
    cpu_before_s = seconds(CLOCK_PROCESS_CPUTIME_ID);
}

int main(int argc, char **argv)
{
    struct epoll_event due[EVENTS_MAX], stdin_event = {.events = EPOLLIN, .data.ptr = NULL};
    char command[64];
    if (argc != 11) {
        fprintf(stderr, "usage: watch PORT CONNECTIONS BUFFER FORM MARK OPENING HELLO READY PING PONG\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    server.sin_port = htons((uint16_t)atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection_count = atoi(argv[2]);
    connections = calloc((size_t)connection_count, sizeof *connections);
    buffer_bytes = atoi(argv[3]);
    events = !strcmp(argv[4], "events");
    struct bytes *given[] = {&mark, &opening, &hello, &ready_mark, &ping, &pong};
    for (int at = 0; at < 6; at++)
        *given[at] = from_hexadecimal(argv[5 + at]);
    epoll = epoll_create1(0);
    if (epoll < 0 || connections == NULL || epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &stdin_event))
        fail("epoll");
    open_more();
    for (;;) {
        int count = epoll_wait(epoll, due, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int at = 0; at < count; at++) {
            if (due[at].data.ptr != NULL)
                read_from(due[at].data.ptr);
            else if (read(STDIN_FILENO, command, sizeof command) > 0)
                report();
            else
                return 0;
        }
    }
}
