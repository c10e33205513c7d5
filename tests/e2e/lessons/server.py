import socket

server = socket.socket()
server.bind(('0.0.0.0', 8888))
server.listen(5)                          # "half-open pool": at most 5 wait
while True:
    conn, addr = server.accept()
    print(addr)
    while True:
        try:
            data = conn.recv(1024).decode('utf-8')
            if data == 'q': break
            if len(data) == 0: continue
            print(data)
            conn.send(data.encode('utf-8'))
        except Exception as e:
            print(e)
            break
    conn.close()
