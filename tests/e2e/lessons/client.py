import socket

client = socket.socket()
client.connect(('10.9.0.2', 8888))
while True:
    send_msg = input('client ---> server:')
    client.send(send_msg.encode('utf-8'))
    if send_msg == 'q': break
    print(client.recv(1024).decode('utf-8'))
client.close()
