"""An S3 of others (moto) on a port of this machine, with a bucket and a key whose signatures it checks; told on one line, ended by end of input."""

import json
import sys
import urllib.request

import boto3
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
base = f"http://{host}:{port}"


def client(name):
    return boto3.client(name, endpoint_url=base, region_name="eu-central-1", aws_access_key_id="root", aws_secret_access_key="root")


client("s3").create_bucket(Bucket="docs", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
iam = client("iam")
iam.create_user(UserName="toolgate")
allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="toolgate", PolicyName="docs", PolicyDocument=json.dumps(allow))
key = iam.create_access_key(UserName="toolgate")["AccessKey"]
# From here on every request must be signed by a key that it knows.
urllib.request.urlopen(urllib.request.Request(f"{base}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"})).read()
print(json.dumps({"base": base, "id": key["AccessKeyId"], "key": key["SecretAccessKey"]}), flush=True)
sys.stdin.read()
server.stop()
