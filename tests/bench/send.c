/*
 * The floor of fan-out: a loop over send(), which no server can beat that sends to one socket after the other.
 *
 *     send ANSWER
 *
 * Listens on a free port of the loopback and prints its address. Who connects is sent ANSWER (in hexadecimal) as soon as
 * it has asked for anything; after that, whatever is read from the standard input at once goes to everyone with one
 * send() each, in the order that they came. Ends with the standard input, or when a client is gone.
 */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS_MAX = 20000, REQUEST_BYTES_MAX = 4096, MESSAGE_BYTES_MAX = 1 << 16, BACKLOG = 1024 };

static int clients[CLIENTS_MAX];
static int client_count;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_on_loopback(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, BACKLOG) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        fail("listen");
    printf("http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void send_whole(int client, const char *message, size_t size)
{
    /* The sockets block: a client that does not read holds up all others, which is why servers do not do this. */
    if (send(client, message, size, MSG_NOSIGNAL) != (ssize_t)size)
        fail("send");
}

static void accept_client(int listener, const char *answer, size_t answer_size)
{
    char request[REQUEST_BYTES_MAX];
    int client = accept(listener, NULL, NULL), on = 1;
    if (client < 0 || client_count == CLIENTS_MAX)
        fail("accept");
    /* As every server sets it that sends small messages. */
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (recv(client, request, sizeof request, 0) <= 0)
        fail("recv");
    send_whole(client, answer, answer_size);
    clients[client_count++] = client;
}

static size_t from_hexadecimal(const char *digits, char *bytes)
{
    size_t size = strlen(digits) / 2;
    for (size_t at = 0; at < size; at++)
        if (sscanf(digits + 2 * at, "%2hhx", (unsigned char *)bytes + at) != 1)
            fail("sscanf");
    return size;
}

int main(int argc, char **argv)
{
    static char answer[MESSAGE_BYTES_MAX], message[MESSAGE_BYTES_MAX];
    if (argc != 2 || strlen(argv[1]) / 2 > sizeof answer) {
        fprintf(stderr, "usage: send ANSWER\n");
        return 2;
    }
    size_t answer_size = from_hexadecimal(argv[1], answer);
    struct pollfd sources[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = listen_on_loopback(), .events = POLLIN}};
    for (;;) {
        if (poll(sources, 2, -1) < 0)
            fail("poll");
        if (sources[1].revents)
            accept_client(sources[1].fd, answer, answer_size);
        if (!sources[0].revents)
            continue;
        ssize_t size = read(STDIN_FILENO, message, sizeof message);
        if (size <= 0)
            return 0;
        for (int at = 0; at < client_count; at++)
            send_whole(clients[at], message, (size_t)size);
    }
}
